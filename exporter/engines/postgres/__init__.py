"""PostgreSQL: sessions over psycopg, and how its facts are learnt."""
