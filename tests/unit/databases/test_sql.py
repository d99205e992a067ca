"""What a statement does, told from its text: whatever is not provably a read counts as a write."""

import sqlite3
import time
from contextlib import closing, suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from django_rwrouter.conf.model_labels import table_name
from django_rwrouter.databases import by_name
from django_rwrouter.databases import sql as module
from django_rwrouter.databases.sql import Kind, classify

VENDORS = ("mysql", "postgresql", "sqlite")
READ, WRITE, CONTROL = Kind.READ, Kind.WRITE, Kind.CONTROL

EVERYWHERE = {
    # plain reads
    "SELECT 1": READ,
    "select * from book": READ,
    "  \n\tSELECT 1 ;  ": READ,
    "(SELECT 1) UNION (SELECT 2)": READ,
    "((SELECT 1))": READ,
    "VALUES (1), (2)": READ,
    "TABLE book": READ,
    "SHOW server_version": READ,
    "SELECT 1; SELECT 2": READ,
    # plain writes
    "INSERT INTO book VALUES (1)": WRITE,
    "update book set title = 'x'": WRITE,
    "DELETE FROM book": WRITE,
    "REPLACE INTO book VALUES (1)": WRITE,
    "MERGE INTO book USING x ON (1 = 1) WHEN MATCHED THEN DELETE": WRITE,
    "TRUNCATE book": WRITE,
    "CREATE TABLE x (id int)": WRITE,
    "ALTER TABLE book ADD x int": WRITE,
    "DROP TABLE book": WRITE,
    "GRANT SELECT ON book TO ann": WRITE,
    "VACUUM": WRITE,
    "ANALYZE": WRITE,
    "ANALYZE book": WRITE,
    # what runs something that cannot be seen
    "CALL something()": WRITE,
    "DO $$ BEGIN DELETE FROM book; END $$": WRITE,
    "EXECUTE prepared": WRITE,
    "PREPARE p AS INSERT INTO book VALUES (1)": WRITE,
    "{call something()}": WRITE,
    "?": WRITE,
    # locks are not writes
    "SELECT * FROM book FOR UPDATE": READ,
    "SELECT * FROM book for\n  update": READ,
    "SELECT * FROM book FOR /* now */ UPDATE SKIP LOCKED": READ,
    "SELECT * FROM book FOR NO KEY UPDATE": READ,
    "SELECT * FROM book FOR SHARE": READ,
    # WITH
    "WITH x AS (SELECT 1) SELECT * FROM x": READ,
    "WITH RECURSIVE x(n) AS (VALUES (1) UNION SELECT n + 1 FROM x) SELECT * FROM x": READ,
    "WITH x AS (SELECT 1) SELECT * FROM x FOR UPDATE": READ,
    "WITH x AS (SELECT 1) INSERT INTO book SELECT * FROM x": WRITE,
    "WITH x AS (SELECT 1) UPDATE book SET title = 'x'": WRITE,
    "WITH x AS (SELECT 1) DELETE FROM book": WRITE,
    "WITH x AS (INSERT INTO book VALUES (1) RETURNING id) SELECT * FROM x": WRITE,
    "WITH x AS (UPDATE book SET title = 'x' RETURNING id) SELECT * FROM x": WRITE,
    "WITH x AS (DELETE FROM book RETURNING id) SELECT * FROM x": WRITE,
    # EXPLAIN tells, EXPLAIN ANALYZE runs
    "EXPLAIN SELECT 1": READ,
    "EXPLAIN UPDATE book SET title = 'x'": READ,
    "EXPLAIN ANALYZE SELECT 1": READ,
    "EXPLAIN ANALYZE UPDATE book SET title = 'x'": WRITE,
    "explain (analyze, buffers) delete from book": WRITE,
    "EXPLAIN (VERBOSE, ANALYSE) INSERT INTO book VALUES (1)": WRITE,
    # SELECT that writes
    "SELECT * INTO copy FROM book": WRITE,
    "SELECT title INTO OUTFILE '/tmp/x' FROM book": WRITE,
    # functions called like commands
    "SELECT REPLACE(title, 'a', 'b') FROM book": READ,
    "SELECT INSERT ('abc', 1, 1, 'x')": READ,
    # several at once
    "SELECT 1; DELETE FROM book": WRITE,
    "SET x = 1; INSERT INTO book VALUES (1)": WRITE,
    "BEGIN; UPDATE book SET title = 'x'; COMMIT": WRITE,
    "BEGIN; SELECT 1; COMMIT": READ,
    ";;": CONTROL,
    # transactions and sessions
    "": CONTROL,
    "   ": CONTROL,
    "-- nothing": CONTROL,
    "BEGIN": CONTROL,
    "begin work": CONTROL,
    "START TRANSACTION READ ONLY": CONTROL,
    "COMMIT": CONTROL,
    "ROLLBACK TO SAVEPOINT s1": CONTROL,
    'SAVEPOINT "s123_x1"': CONTROL,
    'RELEASE SAVEPOINT "s123_x1"': CONTROL,
    "SET TIME ZONE 'UTC'": CONTROL,
    "SET autocommit = 0": CONTROL,
    "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED": CONTROL,
    "SET GLOBAL max_connections = 5": WRITE,
    "SET PASSWORD = 'x'": WRITE,
    # words in strings, names and comments are not the statement's
    "SELECT 'INSERT INTO book; DELETE FROM book'": READ,
    "SELECT 'it''s; DELETE FROM book'": READ,
    "/* INSERT INTO book */ SELECT 1": READ,
    "SELECT /* ; DELETE FROM book */ 1": READ,
    "SELECT 1 -- ; DELETE FROM book": READ,
    "-- ann's\nSELECT 1": READ,
    "/* it's */ SELECT 1": READ,
    "SELECT 1 /*route='/books/'*/": READ,
    "SELECT 1 /* /books/ */ /* main */": READ,
    "SELECT 1 /*Main page*/": READ,
    "SELECT '/*' ; DELETE FROM book -- */'": WRITE,
    "SELECT '--'; DELETE FROM book": WRITE,
    "SELECT 1 /* x */; DELETE FROM book /* y */": WRITE,
    "/**/INSERT INTO book VALUES (1)": WRITE,
    "-- SELECT\nINSERT INTO book VALUES (1)": WRITE,
    # what has no end tells nothing
    "SELECT 'a": WRITE,
    "SELECT /* a": WRITE,
    "SELECT \x00 1": WRITE,
    # placeholders
    "SELECT * FROM book WHERE title = %s AND id IN (%s, %s)": READ,
    "SELECT * FROM book WHERE title = %(title)s": READ,
}

BY_VENDOR = {
    "mysql": {
        # strings in double quotes, with backslashes; comments with "#", and "--" only before a space
        r"SELECT 'it\'s; DELETE FROM book'": READ,
        r'SELECT "say \"hi\"; DELETE FROM book"': READ,
        'SELECT "it\'s"; DELETE FROM book': WRITE,
        r"SELECT 'a\\'; DELETE FROM book": WRITE,
        "SELECT 1 # ; DELETE FROM book": READ,
        "SELECT 1 # it's\n; DELETE FROM book": WRITE,
        "SELECT 5--1": READ,
        "SELECT 5--1; DELETE FROM book": WRITE,
        "SELECT `it's; DELETE FROM book` FROM x": READ,
        "SELECT `a``b`; DELETE FROM book": WRITE,
        "SELECT /*+ MAX_EXECUTION_TIME(1000) */ 1": READ,
        # comments that run
        "/*! INSERT INTO book VALUES (1) */": WRITE,
        "/*!50000 DELETE FROM book */": WRITE,
        "/*M!100000 DELETE FROM book */": WRITE,
        "SELECT /*!40001 SQL_NO_CACHE */ * FROM book": READ,
        "SELECT 1 /*!; DELETE FROM book */": WRITE,
        "/* a /*! b */ ; DELETE FROM book /* */": WRITE,
        "SELECT 1 /*!999999 ' */; DELETE FROM book -- '": WRITE,
        "SELECT 1 /*!999999 -- */; DELETE FROM book": WRITE,
        "SELECT 1 /*!999999 # */; DELETE FROM book": WRITE,
        "BEGIN /*!999999 x */ NOT ATOMIC DELETE FROM book; END": WRITE,
        "BEGIN /*!999999 x */ /*!50000 NOT */ ATOMIC DELETE FROM book; END": WRITE,
        "SELECT 1 /*!999999 ' */ /*!50000 ; DELETE FROM book */ -- '": WRITE,
        "WITH x AS (SELECT 1) /*!999999 FOR */ /*!50000 UPDATE */ book SET id = 2": WRITE,
        "WITH x AS (SELECT 1) /*!999999 FOR */ UPDATE book SET id = 2": WRITE,
        "SELECT 1 /*!999999 /* */ ; DELETE FROM book /* */ */": WRITE,
        "/*!40101 SET NAMES utf8 */": CONTROL,
        "/*!40000 ALTER TABLE book DISABLE KEYS */": WRITE,
        "SELECT /*!50000 STRAIGHT_JOIN */ /*M!100000 SQL_CACHE */ 1": READ,
        # hints hold names in quotes
        "SELECT /*+ QB_NAME(`a*/ '`) */ 1; DELETE FROM book -- '": WRITE,
        "SELECT /*+ SET_VAR(optimizer_switch = 'mrr=off') */ 1": READ,
        # under NO_BACKSLASH_ESCAPES and ANSI_QUOTES
        r"SELECT '\'; DELETE FROM book -- '": WRITE,
        r'SELECT 1 AS "\"; DELETE FROM book -- "': WRITE,
        r"SELECT N'it\'s', _utf8'\\', '\\'": READ,
        # its own commands
        "SELECT 1 LOCK IN SHARE MODE": READ,
        "DESCRIBE book": READ,
        "SHOW TABLES": READ,
        "ANALYZE SELECT 1": READ,
        "ANALYZE UPDATE book SET title = 'x'": WRITE,
        "ANALYZE TABLE book": WRITE,
        "ANALYZE FORMAT=json SELECT 1": READ,
        "ANALYZE FORMAT = JSON DELETE FROM book": WRITE,
        "ANALYZE LOCAL TABLE book": WRITE,
        "SET STATEMENT max_statement_time=1 FOR SELECT 1": READ,
        "SET STATEMENT max_statement_time=1, sql_mode='x' FOR (SELECT 1)": READ,
        "SET STATEMENT a = 1 FOR UPDATE book SET id = 2": WRITE,
        "SET STATEMENT a = 1 FOR CALL x()": WRITE,
        "SET STATEMENT a = 1": WRITE,
        "SET @x = NEXTVAL(s)": WRITE,
        "SET sql_mode = 'x', GLOBAL a = 1": WRITE,
        "SELECT NEXT VALUE FOR s": WRITE,
        "SELECT 1 INTO @x": READ,
        "SELECT 1, 2 INTO @x, @y": READ,
        "SELECT 1 INTO DUMPFILE '/tmp/x'": WRITE,
        "TABLE book INTO OUTFILE 'x'": WRITE,
        "DO RELEASE_LOCK('x')": READ,
        "DO NEXTVAL(s)": WRITE,
        "DESC book": READ,
        "DESC UPDATE book SET id = 2": READ,
        "DESCRIBE ANALYZE UPDATE book SET id = 2": WRITE,
        "EXPLAIN FORMAT=JSON SELECT 1": READ,
        "EXPLAIN ANALYZE FORMAT=TREE DELETE book FROM book": WRITE,
        "SELECT t.delete FROM book t": READ,
        "RESET MASTER": WRITE,
        "START REPLICA": WRITE,
        "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY": CONTROL,
        "VALUES ROW(1, 2)": READ,
        "INSERT INTO a VALUES (1) ON DUPLICATE KEY UPDATE x = 1": WRITE,
        "LOAD DATA INFILE 'x' INTO TABLE book": WRITE,
        "SET STATEMENT max_statement_time = 1 FOR DELETE FROM book": WRITE,
        "XA COMMIT 'x'": WRITE,
        "HANDLER book OPEN": WRITE,
        "BEGIN NOT ATOMIC INSERT INTO book VALUES (1); END": WRITE,
        "FOR i IN 1..2 DO DELETE FROM book; END FOR": WRITE,
    },
    "postgresql": {
        r"SELECT 'a\'; DELETE FROM book; --'": WRITE,
        r"SELECT E'a\'; DELETE FROM book; --'": READ,
        r"SELECT e'a\\'; DELETE FROM book": WRITE,
        "SELECT $$it's; DELETE FROM book$$": READ,
        "SELECT $a$ $$ ; DELETE FROM book $a$": READ,
        "SELECT $a$ x $a$; DELETE FROM book": WRITE,
        "SELECT a$b$ FROM x; DELETE FROM book; SELECT a$b$": WRITE,
        "SELECT $1; DELETE FROM book WHERE id = $1": WRITE,
        'SELECT "it\'s; DELETE FROM book" FROM x': READ,
        'SELECT "a""b"; DELETE FROM book': WRITE,
        "SELECT 5 # 3": READ,
        "SELECT 5--1\n; DELETE FROM book": WRITE,
        # comments nest, and end at a carriage return, too
        "SELECT 1 /* a /* b */ ; DELETE FROM book */": READ,
        "SELECT 1 /* a /* b */ */; DELETE FROM book": WRITE,
        "SELECT 1 /* a /* b */ ; DELETE FROM book": WRITE,
        "SELECT '/*', '/*'; DELETE FROM book -- */": WRITE,
        "SELECT $$/*$$; DELETE FROM book /* */ -- $$*/": WRITE,
        "SELECT 1 -- $$\n; DELETE FROM book -- $$": WRITE,
        "-- comment\rDELETE FROM book": WRITE,
        "SELECT 1; -- comment\rDELETE FROM book": WRITE,
        "EXPLAIN -- x\rANALYZE DELETE FROM book": WRITE,
        "-- comment\rSELECT 1": READ,
        # with standard_conforming_strings off, a backslash escapes
        r"SELECT 'a\' ; DELETE FROM book -- '": WRITE,
        r"SELECT '\', '; DELETE FROM book --'": WRITE,
        r"SELECT '\d+', '; DELETE FROM book --'": READ,
        "SELECT E'a'\n'\\' ; DELETE FROM book --'": READ,
        "SELECT E'a' -- x\n '\\''; DELETE FROM book --'": WRITE,
        "SELECT U&'\\0041', N'it''s', B'01', X'1F'": READ,
        'SELECT U&"d\\0061t\\+000061" FROM book': READ,
        "SELECT 1\xa0DELETE FROM book": READ,
        "SELECT nextval('book_id_seq')": WRITE,
        """SELECT setval(pg_get_serial_sequence('"book"','id'), max("id")) FROM "book" """: WRITE,
        "SELECT pg_catalog.setval('s', 1)": WRITE,
        "SELECT \"nextval\" ('s')": WRITE,
        "SELECT U&\"n\\0065xtval\"('s')": WRITE,
        "SELECT pg_catalog.U&\"n!0065xtval\" UESCAPE '!' ('s')": WRITE,
        'SELECT u & "x" FROM book': READ,
        "SELECT nextval FROM book": WRITE,
        "SELECT currval('s'), pg_advisory_lock(1)": READ,
        "COPY book TO STDOUT": READ,
        "COPY (SELECT * FROM book) TO STDOUT WITH CSV": READ,
        "COPY (DELETE FROM book RETURNING *) TO STDOUT": WRITE,
        "COPY book TO '/tmp/x'": WRITE,
        "COPY book TO PROGRAM 'x'": WRITE,
        "MOVE 1 FROM c": READ,
        "COMMIT PREPARED 'x'": WRITE,
        "COMMIT AND CHAIN": CONTROL,
        "BEGIN ISOLATION LEVEL SERIALIZABLE, READ WRITE": CONTROL,
        'EXPLAIN ("analyze") DELETE FROM book': WRITE,
        "EXPLAIN (COSTS OFF, FORMAT JSON) DELETE FROM book": READ,
        "EXPLAIN (ANALYZE, FORMAT JSON) SELECT 1": READ,
        "EXPLAIN ANALYZE (WITH x AS (DELETE FROM book RETURNING 1) SELECT 1)": WRITE,
        "RESET ALL": CONTROL,
        "SELECT '`'": READ,
        "COPY book FROM STDIN": WRITE,
        "EXPLAIN ANALYZE CREATE TABLE copy AS SELECT * FROM book": WRITE,
        "EXPLAIN ANALYZE CREATE MATERIALIZED VIEW v AS SELECT 1": WRITE,
        "EXPLAIN ANALYZE EXECUTE prepared": WRITE,
        "NOTIFY x": WRITE,
        "REFRESH MATERIALIZED VIEW v": WRITE,
        "DECLARE c CURSOR FOR SELECT * FROM book": READ,
        'DECLARE "_django_curs_1" NO SCROLL CURSOR WITH HOLD FOR SELECT 1': READ,
        "FETCH FORWARD 10 FROM c": READ,
        "CLOSE c": CONTROL,
        "WITH x AS MATERIALIZED (MERGE INTO a USING b ON true WHEN MATCHED THEN DELETE) SELECT 1": WRITE,
        "LISTEN x": CONTROL,
        "DISCARD ALL": CONTROL,
    },
    "sqlite": {
        r"SELECT 'a\'; DELETE FROM book; --'": WRITE,
        "SELECT [it's; DELETE FROM book] FROM x": READ,
        "SELECT `it's` FROM x; DELETE FROM book": WRITE,
        "PRAGMA foreign_keys = OFF": READ,
        'PRAGMA table_info("book")': READ,
        "PRAGMA journal_mode": READ,
        "PRAGMA main.user_version;": READ,
        "PRAGMA user_version = 3": WRITE,
        "PRAGMA journal_mode = wal": WRITE,
        "EXPLAIN QUERY PLAN DELETE FROM book": READ,
        "ATTACH 'x' AS y": WRITE,
        "PRAGMA optimize": WRITE,
        "PRAGMA incremental_vacuum": WRITE,
        "PRAGMA wal_checkpoint(FULL)": WRITE,
        "PRAGMA main.table_info(book)": READ,
        'PRAGMA "user_version" = 3': WRITE,
        "EXPLAIN PRAGMA user_version = 3": WRITE,
        "SELECT $a('); DELETE FROM book --')": WRITE,
        "WITH x AS (SELECT 1)\ufeffDELETE FROM book": WRITE,
        "SELECT load_extension('x')": WRITE,
        "INSERT OR REPLACE INTO book VALUES (1)": WRITE,
        "END": CONTROL,
    },
}
STATEMENTS = [
    pytest.param(vendor, sql, kind, id=f"{vendor}: {sql!r}")
    for vendor in VENDORS
    for sql, kind in {**EVERYWHERE, **BY_VENDOR[vendor]}.items()
]


@pytest.mark.parametrize(("vendor", "sql", "kind"), STATEMENTS)
def test_what_a_statement_does(vendor, sql, kind):
    statement = classify(sql, vendor)
    assert statement.kind is kind
    assert statement.writes is (kind is WRITE)


TARGETS = {
    "INSERT INTO {book} (a) VALUES (1)": True,
    "INSERT INTO {book} VALUES (1)": True,
    "INSERT INTO {book} DEFAULT VALUES": True,
    "INSERT INTO {book} (a) SELECT b FROM other": True,
    "insert ignore into {book} (a) values (1)": True,
    "INSERT OR REPLACE INTO {book} (a) VALUES (1)": True,
    "REPLACE INTO {book} (a) VALUES (1)": True,
    "UPDATE {book} SET a = 1": True,
    "UPDATE ONLY {book} SET a = 1": True,
    "UPDATE {book} SET a = (SELECT b FROM other) WHERE id = 1": True,
    "DELETE FROM {book}": True,
    "DELETE FROM {book};": True,
    "/* c */ DELETE FROM {book} WHERE id IN (SELECT id FROM other)": True,
    "DELETE FROM {book} WHERE a = ';' RETURNING id": True,
    # more than one table, or none that is certain
    "UPDATE {book}, other SET a = 1": False,
    "UPDATE {book} JOIN other ON (1 = 1) SET a = 1": False,
    "DELETE FROM {book} USING other": False,
    "DELETE {book} FROM {book} INNER JOIN other": False,
    "INSERT INTO {book} WITH x AS (DELETE FROM other RETURNING id) SELECT * FROM x": False,
    "WITH x AS (DELETE FROM other RETURNING id) INSERT INTO {book} SELECT * FROM x": False,
    "DELETE FROM {book}; DELETE FROM other": False,
    "TRUNCATE {book}": False,
    "SELECT * FROM {book}": False,
}
QUOTES = {"mysql": "`book`", "postgresql": '"book"', "sqlite": '"book"'}


@pytest.mark.parametrize("vendor", VENDORS)
@pytest.mark.parametrize(("sql", "certain"), TARGETS.items(), ids=str)
def test_which_table_is_written(sql, certain, vendor):
    for name in ("book", QUOTES[vendor]):
        assert classify(sql.format(book=name), vendor).target == ("book" if certain else None)


TABLES = {
    "SELECT * FROM {book}": {"book"},
    "SELECT a.b FROM {book} AS a WHERE a.b = 'FROM x'": {"book"},
    "SELECT * FROM {book} INNER JOIN {author} ON (1 = 1)": {"book", "author"},
    "SELECT * FROM {book} LEFT OUTER JOIN elsewhere.{author} ON (1 = 1)": {
        "book",
        "elsewhere.author",
        "author",
    },
    "SELECT * FROM ({book} JOIN {author} ON (1 = 1))": {"book", "author"},
    "SELECT EXTRACT(YEAR FROM {book}.written) FROM {book} FOR UPDATE SKIP LOCKED": {"book"},
    "SELECT * FROM f(1) AS x, {book} b, {author}": {"book", "author"},
    "SELECT 1 FROM {book} WHERE a IS NOT DISTINCT FROM b": {"book"},
    "INSERT INTO {book} (a) VALUES (1) ON CONFLICT (a) DO UPDATE SET a = 2": {"book"},
    "SELECT * FROM {book} WHERE id IN (SELECT id FROM {author})": {"book", "author"},
    "SELECT * FROM {book}, {author}": {"book", "author"},
    "SELECT * FROM (SELECT 1 FROM {author}) x": {"author"},
    # behind what may follow a table in a list
    "SELECT * FROM (SELECT a, b FROM other) x, {book} b JOIN {author} ON a = b": {"other", "book", "author"},
    "SELECT * FROM (VALUES (1), (now())) x, (({book})), LATERAL (SELECT 1) y, {author}": {"book", "author"},
    "SELECT * FROM {book} b JOIN other o ON b.a = f(o.b, o.c), {author}": {"book", "other", "author"},
    "SELECT * FROM {book} JOIN other USING (a, b) AS x, {author}": {"book", "other", "author"},
    "SELECT * FROM {book} AS x (a, b), {author}": {"book", "author"},
    "SELECT * FROM f(1) WITH ORDINALITY AS x (a, b), {book}, {author}": {"book", "author"},
    "SELECT * FROM {book} x TABLESAMPLE SYSTEM (1) REPEATABLE (2), {author}": {"book", "author"},
    "SELECT * FROM {book} USE INDEX (a, b), {author}": {"book", "author"},
    "SELECT * FROM {book} PARTITION (p0) AS x FORCE INDEX FOR JOIN (i), {author}": {"book", "author"},
    "SELECT * FROM {book} FOR SYSTEM_TIME AS OF now() x, {author}": {"book", "author"},
    "SELECT * FROM {book} NOT INDEXED, {author}": {"book", "author"},
    "SELECT * FROM {book} STRAIGHT_JOIN {author}": {"book", "author"},
    "SELECT STRAIGHT_JOIN a, b FROM {book}, {author}": {"book", "author"},
    # no table
    "SELECT a FROM {book} WHERE a IN (b, c) GROUP BY d, e ORDER BY f, g LIMIT h, i": {"book"},
    "SELECT f(a, b), c FROM {book} UNION SELECT d, e FROM {author} ORDER BY 1, d": {"book", "author"},
    "SELECT a FROM {book} WINDOW w AS (ORDER BY b), v AS (ORDER BY c) OFFSET 1": {"book"},
    "INSERT INTO {book} (a, b) SELECT c, d FROM {author} ON DUPLICATE KEY UPDATE a = 1, b = 2": {
        "book",
        "author",
    },
    "INSERT INTO {book} (a) SELECT a FROM {author}": {"book", "author"},
    "UPDATE {book} SET a = 1": {"book"},
    "DELETE FROM {book}": {"book"},
    "CREATE TABLE IF NOT EXISTS {book} (a int)": {"book"},
    "SELECT 1": set(),
    "SAVEPOINT x": set(),
}


@pytest.mark.parametrize("vendor", VENDORS)
@pytest.mark.parametrize(("sql", "tables"), TABLES.items(), ids=str)
def test_which_tables_are_named(sql, tables, vendor):
    quote = QUOTES[vendor][0]
    for mark in ("", quote):
        names = {name: f"{mark}{name}{mark}" for name in ("book", "author")}
        assert classify(sql.format(**names), vendor).tables == tables


PIECES = st.sampled_from(
    [
        *"'\"`[]();#$%\\\n\x00;*/- ",
        *("/*", "*/", "/*!", "/*M!50000", "--", "$$", "$a$", "E'", "''", "%s", "\ufeff", "\ud800"),
        *("SELECT", "INSERT", "INTO", "UPDATE", "FOR", "WITH", "EXPLAIN", "ANALYZE", "PRAGMA", "SET"),
    ]
)
SQL = st.one_of(st.text(), st.lists(st.one_of(PIECES, st.text(max_size=3))).map(" ".join))


@given(SQL, st.sampled_from([*VENDORS, "oracle", "microsoft"]))
def test_no_text_raises(sql, vendor):
    classify(sql, vendor)


SCRIPT = st.lists(
    st.sampled_from(
        [
            *("SELECT 1", "SELECT 'x'", 'SELECT "id" FROM book', "SELECT ", "1", "VALUES (1)"),
            *("DELETE FROM book", "UPDATE [book] SET id = 2", "INSERT INTO book VALUES (3)"),
            *("WITH x AS (SELECT 1)", "EXPLAIN", "REPLACE", "BEGIN", "COMMIT", "PRAGMA user_version"),
            *(";", ";", ";", "\n", "\n", " ", "'", '"', "`", "[", "]", "--", "/*", "*/", "\\", "''"),
        ]
    ),
    max_size=12,
).map("".join)


@settings(max_examples=1000)
@given(SCRIPT)
def test_whatever_changes_a_real_database_counts_as_a_write(script):
    with closing(sqlite3.connect(":memory:")) as database:
        database.executescript("CREATE TABLE book (id int); INSERT INTO book VALUES (1)")
        with suppress(sqlite3.Error):
            database.executescript(script)
        if database.execute("SELECT * FROM book").fetchall() != [(1,)]:
            assert classify(script, "sqlite").writes


@pytest.mark.parametrize("vendor", VENDORS)
@pytest.mark.parametrize("unit", ["''", "'it''s', ", "/* x */", "-- x\n", "(", "$a$b$a$", "1; "])
def test_a_long_statement_takes_no_time_to_speak_of(vendor, unit):
    started = time.thread_time()
    classify("SELECT " + unit * 20_000, vendor)
    assert time.thread_time() - started < 5


@pytest.mark.parametrize("vendor", VENDORS)
@pytest.mark.parametrize(
    "unit", ["/*a", "[a ", "'\\'", "$a$", "`", "E'\n", "/*! a */", "(1,", "(", "a, ", "--\r", '"'], ids=repr
)
def test_time_grows_like_the_length(vendor, unit):
    def cost(times):
        text = "SELECT " + unit * times
        started = time.process_time()
        module._classify(text, by_name(vendor).dialect)
        return time.process_time() - started

    assert min(cost(80_000) for _ in range(3)) < 40 * max(min(cost(8_000) for _ in range(3)), 0.002)


@pytest.mark.parametrize(
    ("db_table", "name"),
    [
        ("shop_book", "shop_book"),
        ('"main"."shop_book"', "main.shop_book"),
        ('main"."shop_book', "main.shop_book"),
        ("main`.`shop_book", "main.shop_book"),
        ('"shop_book"', "shop_book"),
        ("books (old)", "books (old)"),
        ("shop.book", "shop.book"),
        ("책", "책"),
        ("Shop_Book", "shop_book"),
        ('"Main"."Shop_Book"', "main.shop_book"),
        ("a;b -- c", "a;b -- c"),
        ("", ""),
    ],
)
@pytest.mark.parametrize("vendor", VENDORS)
def test_a_table_is_called_the_same_by_its_model_and_by_statements(db_table, name, vendor):
    assert table_name(db_table) == name
    quote = "`" if vendor == "mysql" else '"'
    if not db_table or ({"`", '"'} & set(db_table) - {quote}):
        return
    quoted = db_table if db_table[0] == db_table[-1] == quote else f"{quote}{db_table}{quote}"
    assert name in classify(f"SELECT * FROM {quoted} AS x", vendor).tables
    assert classify(f"INSERT INTO {quoted} (a) VALUES (1)", vendor).target == name


@pytest.fixture
def classified(monkeypatch):
    """Return the statements that were classified, and not remembered."""
    texts = []

    def classify_anew(sql, vendor, classify_anew=module._classify):
        texts.append(sql)
        return classify_anew(sql, vendor)

    monkeypatch.setattr(module, "_classify", classify_anew)
    module.STATEMENTS.clear()
    yield texts
    module.STATEMENTS.clear()


def test_a_long_list_of_placeholders_is_remembered(classified):
    sql = "SELECT * FROM book WHERE id IN ({})"
    for _ in range(2):
        assert classify(sql.format(", ".join(["%s"] * 20_001)), "mysql").tables == {"book"}
    rows = "INSERT INTO book (a, b) VALUES " + ", ".join(["(%s, %s)"] * 2_000)
    assert classify(rows, "mysql").target == classify(rows, "mysql").target == "book"
    assert len(classified) == 2


def test_a_list_that_is_shortened_keeps_its_neighbours_apart():
    sql = "SELECT -" + "%s, " * 4_000 + "-1; DELETE FROM book"
    assert classify(sql, "postgresql").writes


def test_a_long_statement_is_not_remembered(classified):
    for _ in range(2):
        assert classify("INSERT INTO book VALUES " + "(1)," * 5_000, "sqlite").target == "book"
    assert len(classified) == 2
    assert not module.STATEMENTS["sqlite"]


def test_the_oldest_statement_makes_room(classified, monkeypatch):
    monkeypatch.setattr(module, "_CACHED_STATEMENTS", 2)
    for number in (1, 2, 3, 3, 2, 1):
        classify(f"SELECT {number}", "sqlite")
    assert classified == ["SELECT 1", "SELECT 2", "SELECT 3", "SELECT 1"]


def test_one_text_may_mean_two_things_to_two_databases():
    sql = "SELECT 1 # ; DELETE FROM book"
    assert not classify(sql, "mysql").writes
    assert classify(sql, "postgresql").writes
