"""What another user of a MySQL server may do to k3's tables, and what k3 says of it."""

import time
from typing import Final

from k3.stores.mysql import MysqlStorage
from tests.servers import Mariadb

DAMAGED: Final[dict[str, tuple[str, str]]] = {
    "no-log": ("DROP TABLE log", "its table log is gone"),
    "no-cur": ("DROP TABLE cur", "its table cur is gone"),
    "no-meta": ("DROP TABLE meta", "its table meta is gone"),
    "empty-meta": ("DELETE FROM meta", "its table meta has lost its row"),
    "early-rev": ("UPDATE meta SET rev = 1", "its table meta has 1 for rev, while history begins at"),
    "negative-rev": ("UPDATE meta SET rev = -5", "its table meta has -5 for rev"),
    "last-rev": ("UPDATE meta SET rev = 9223372036854775807", "its table meta has 9223372036854775807 for rev"),
    "null-rev": ("ALTER TABLE meta MODIFY rev BIGINT NULL; UPDATE meta SET rev = NULL", "its table meta has nothing for rev"),
    "no-id": ("UPDATE meta SET store_id = ''", "its table meta has nothing for store_id"),
    "text-rev": ("ALTER TABLE meta MODIFY rev VARCHAR(30)", "column rev of its table meta is varchar, not bigint"),
    "text-version": ("ALTER TABLE meta MODIFY version TEXT", "column version of its table meta is text, not int"),
    "text-key": ("ALTER TABLE cur MODIFY k VARCHAR(640) NOT NULL", "column k of its table cur is varchar, not varbinary"),
    "text-document": ("ALTER TABLE log MODIFY doc LONGTEXT", "column doc of its table log is longtext, not mediumblob"),
    "no-column-log": ("ALTER TABLE log DROP COLUMN uid", "its table log has lost its column uid"),
    "no-column-meta": ("ALTER TABLE meta DROP COLUMN compact", "its table meta has lost its column compact"),
    "no-index": ("ALTER TABLE cur DROP PRIMARY KEY", "its table cur has lost its primary key (k)"),
    "no-transactions": ("ALTER TABLE meta ENGINE=MyISAM", "its table meta is not kept by InnoDB but by MyISAM"),
    "a-view": ("RENAME TABLE log TO `lines`; CREATE VIEW log AS SELECT * FROM `lines`", "its table log "),
}


def by_sql(server: Mariadb, storage: MysqlStorage, statement: str) -> None:
    """Runs a statement there as another user."""
    server.sql(f"USE {storage.database}; {statement}")


def drop_all(server: Mariadb, storage: MysqlStorage, kind: str) -> None:
    """What a person is told to do about a damaged store."""
    by_sql(server, storage, f"DROP {'VIEW' if kind == 'a-view' else 'TABLE'} IF EXISTS log")
    by_sql(server, storage, "DROP TABLE IF EXISTS meta, cur, `lines`")


def put(server: Mariadb, storage: MysqlStorage, name: str, document: bytes) -> None:
    """Puts a document under a Node's key, as another program might."""
    by_sql(
        server,
        storage,
        "START TRANSACTION; UPDATE meta SET rev = rev + 1;"
        f" REPLACE INTO cur SELECT '//v1/Node/{name}', rev FROM meta;"
        f" INSERT INTO log SELECT rev, '//v1/Node/{name}', 0, 'ADDED', {time.time()}, 'u', '2026-11-27T00:00:00Z',"
        f" X'{document.hex()}' FROM meta; COMMIT",
    )
