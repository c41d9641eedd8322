#!/bin/bash
# keystone.sh FOLDER VENV PORT: keystone itself on sqlite, which serves until it is killed; "admin" has the password "secret".
set -e
folder=$1 venv=$2 port=$3
mkdir -p "$folder"
cat >"$folder/keystone.conf" <<CONF
[DEFAULT]
log_file = $folder/keystone.log
use_stderr = false
[database]
connection = sqlite:///$folder/keystone.db
[token]
provider = fernet
[fernet_tokens]
key_repository = $folder/fernet
[fernet_receipts]
key_repository = $folder/fernet
[credential]
key_repository = $folder/credentials
CONF
manage() { "$venv/bin/keystone-manage" --config-file "$folder/keystone.conf" "$@"; }
manage db_sync
manage fernet_setup --keystone-user "$(id -un)" --keystone-group "$(id -gn)"
manage bootstrap --bootstrap-password secret --bootstrap-username admin --bootstrap-project-name admin \
    --bootstrap-role-name admin --bootstrap-service-name keystone --bootstrap-region-id RegionOne \
    --bootstrap-public-url "http://127.0.0.1:$port/v3/" --bootstrap-admin-url "http://127.0.0.1:$port/v3/"
OS_KEYSTONE_CONFIG_FILES=$folder/keystone.conf exec "$venv/bin/python" -c "
import sys
sys.argv = ['keystone']
from keystone.server import wsgi
import waitress
waitress.serve(wsgi.initialize_public_application(), listen='127.0.0.1:$port', threads=4)"
