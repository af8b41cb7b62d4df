"""Makes SQLite safe for several threads and processes under oslo.db: WAL; a writer transaction takes the write lock at
its start (BEGIN IMMEDIATE), a reader never does, so no lock is ever upgraded; what is left of 'database is locked' counts
as a deadlock, which nova and neutron retry."""
import sqlalchemy
from oslo_db import exception
from oslo_db.sqlalchemy import enginefacade, exc_filters
from sqlalchemy import exc as sqla_exc
from sqlalchemy.engine import Engine

IMMEDIATE = {"sqlite_begin_immediate": True}


@sqlalchemy.event.listens_for(Engine, 'connect')
def _connect(dbapi_con, record):
    if hasattr(dbapi_con, 'isolation_level'):
        dbapi_con.execute('PRAGMA journal_mode=WAL')
        dbapi_con.execute('PRAGMA busy_timeout=20000')


@sqlalchemy.event.listens_for(Engine, 'begin')
def _begin(conn):
    if conn.dialect.name == 'sqlite' and conn.get_execution_options().get('sqlite_begin_immediate') and 'in_transaction' not in conn.info:
        conn.exec_driver_sql('BEGIN IMMEDIATE')
        conn.info['in_transaction'] = True      # oslo.db's own listener then does nothing


def _wrap(cls):
    session, connection = cls._create_session, cls._create_connection

    def _create_session(self, mode, *a, **kw):
        s = session(self, mode, *a, **kw)
        if mode is enginefacade._WRITER and isinstance(s.bind, Engine):
            s.bind = s.bind.execution_options(**IMMEDIATE)
        return s

    def _create_connection(self, mode):
        c = connection(self, mode)
        return c.execution_options(**IMMEDIATE) if mode is enginefacade._WRITER else c
    cls._create_session, cls._create_connection = _create_session, _create_connection


_wrap(enginefacade._TransactionFactory)


@exc_filters.filters('sqlite', sqla_exc.OperationalError, r'.*database is locked')
def _locked(error, match, engine_name, is_disconnect):
    raise exception.DBDeadlock(error)
