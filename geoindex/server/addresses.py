"""Which addresses are what."""

HEALTH = ("/healthz", "/readyz")
"""What supervisors ask without a token."""

BATCH = "/v1/query/batch"

API = (*HEALTH, "/metrics", "/openapi.json")


def is_api(path: str) -> bool:
    """Tell whether an address belongs to the API; the others are pages."""
    return path in API or path.startswith("/v1/")
