"""What any use of a backbone has to beat."""
