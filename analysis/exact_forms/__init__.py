"""What small networks are, digit for digit: planes, pieces, trees, expansions."""
