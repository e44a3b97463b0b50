"""What the catalogue holds, in words for people and in files for programs."""
