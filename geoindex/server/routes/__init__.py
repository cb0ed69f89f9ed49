"""What the server answers, by noun."""
