"""What a key of a recipe may be."""

from geoindex.errors import ConfigError


def require(holds: bool, key: str, value: object, wanted: str) -> None:
    """Refuse a value that a recipe's key cannot have.

    Raises:
        ConfigError: unless `holds`.
    """
    if not holds:
        raise ConfigError(f"Recipe key '{key}' is {value!r}; it must be {wanted}.")
