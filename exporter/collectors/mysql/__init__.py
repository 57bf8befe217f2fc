"""What MySQL and MariaDB tell about themselves."""
