"""An invented Earth: causes that depend on place, and street scenes drawn from them."""
