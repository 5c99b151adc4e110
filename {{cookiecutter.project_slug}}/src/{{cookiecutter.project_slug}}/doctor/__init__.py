"""`doctor`: what this machine has, what is wrong with it or its launcher, and what training takes on many devices."""
