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
"""Serve one WSGI application: cloud_wsgi.py MODULE PORT.

Run by the Python of the services' environment. The services read sys.argv
when they are imported, so it is emptied before.
"""

import importlib
import sys

import waitress


def main() -> None:
    module, port = sys.argv[1:]
    del sys.argv[1:]
    application = importlib.import_module(module).application
    waitress.serve(application, host='127.0.0.1', port=int(port), threads=8)


if __name__ == '__main__':
    main()
