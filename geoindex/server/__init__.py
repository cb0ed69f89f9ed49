"""An index over HTTP: the API, and what keeps it up."""
