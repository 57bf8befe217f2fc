"""MySQL and MariaDB: sessions over PyMySQL, and how their facts are learnt."""
