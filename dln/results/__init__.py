"""Records of what was measured, and the page made of them."""
