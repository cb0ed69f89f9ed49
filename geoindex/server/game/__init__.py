"""A game: photos that the index never saw, a player who says where each was taken, and the index beside them."""
