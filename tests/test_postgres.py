"""The tests' own PostgreSQL server: each test gets an empty database."""

import psycopg
from postgres import plain


def tables_of(url: str) -> list[str]:
    with psycopg.connect(plain(url)) as connection:
        query = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
        return [name for (name,) in connection.execute(query)]


def test_a_database_can_be_written_and_read(postgres_url):
    with psycopg.connect(plain(postgres_url)) as connection:
        connection.execute("CREATE TABLE parts (number int)")
    assert tables_of(postgres_url) == ["parts"]


def test_a_test_finds_an_empty_database(postgres_url):
    assert tables_of(postgres_url) == []
