"""The version of geoindex, for modules that must not import the package's root."""

VERSION = "0.1.0"
