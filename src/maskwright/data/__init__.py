"""Images, masks and class tables: reading them, checking them, and turning them into training and test pairs."""
