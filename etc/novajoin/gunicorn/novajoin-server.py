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
"""gunicorn -c novajoin-server.py novajoin.wsgi.api:application"""

bind = ['127.0.0.1:9999']
worker_class = 'gthread'
workers = 2
# nova posts several times at once, and a post may wait for a verdict; tell
# novajoin the same number, [api] threads.
threads = 16
# Longer than novajoin's own budget for an answer to nova, shorter than a
# service manager's patience.
timeout = 60
graceful_timeout = 60
# Each worker imports the application itself, so that SIGHUP reads join.conf
# anew and nothing that is opened is shared by a fork.
preload_app = False
control_socket_disable = True
