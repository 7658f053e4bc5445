"""What is right: the executable specification of the four guards."""
