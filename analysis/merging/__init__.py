"""Networks of one architecture between one another: one order of units, averages, barriers."""
