-- Run once on the primary, as administrator, before any replica starts: all of it is replicated.
--
--   @app_database, @app_user, @app_password   what the application connects with
--   @replication_password                     of the user `replication`, which the replicas are

EXECUTE IMMEDIATE CONCAT('CREATE DATABASE IF NOT EXISTS `', REPLACE(@app_database, '`', '``'), '`');

-- No privilege above its own databases: this user cannot write on a read_only server. The second
-- pattern is for Django's test runner, which makes databases named test_...
SET @app_account = CONCAT(QUOTE(@app_user), '@''%''');
EXECUTE IMMEDIATE CONCAT(
    'CREATE OR REPLACE USER ', @app_account, ' IDENTIFIED BY ', QUOTE(@app_password));
EXECUTE IMMEDIATE CONCAT(
    'GRANT ALL PRIVILEGES ON `',
    REPLACE(REPLACE(REPLACE(@app_database, '`', '``'), '_', '\\_'), '%', '\\%'),
    '`.* TO ', @app_account);
EXECUTE IMMEDIATE CONCAT('GRANT ALL PRIVILEGES ON `test\\_%`.* TO ', @app_account);

EXECUTE IMMEDIATE CONCAT(
    'CREATE OR REPLACE USER replication@''%'' IDENTIFIED BY ', QUOTE(@replication_password));
GRANT REPLICATION REPLICA ON *.* TO replication@'%';
