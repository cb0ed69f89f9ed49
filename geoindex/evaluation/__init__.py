"""How good is an index? Its answers beside the floors that they must be read against."""
