"""The page: a photo in, the answer on a map; and the game. NiceGUI on the same application, and nothing off the net."""
