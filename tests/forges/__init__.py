"""What the forges send: real payload shapes, signed as the forges sign them, and what is made of them."""
