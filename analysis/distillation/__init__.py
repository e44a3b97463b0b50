"""From functions that networks learned to an equation with its evidence."""
