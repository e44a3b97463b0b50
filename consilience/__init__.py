"""What many networks learned in common, and its formula."""
