"""What an equation is: trees, read, written, simplified, differentiated, fitted and run."""
