#!/bin/bash
#
# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.
#
# DevStack plugin of novajoin. stack.sh sources it once for each phase.

# shellcheck source=devstack/lib/novajoin
source "$DEST/novajoin/devstack/lib/novajoin"

case "$1:${2:-}" in
    stack:install)
        echo_summary "Installing novajoin"
        install_novajoin
        ;;
    stack:post-config)
        echo_summary "Configuring novajoin, and nova to ask it"
        create_novajoin_accounts
        configure_novajoin
        init_novajoin
        configure_nova_for_novajoin
        ;;
    stack:extra)
        echo_summary "Starting novajoin"
        start_novajoin
        ;;
    unstack:*)
        stop_novajoin
        ;;
    clean:*)
        cleanup_novajoin
        ;;
esac
