"""What PostgreSQL tells about itself."""
