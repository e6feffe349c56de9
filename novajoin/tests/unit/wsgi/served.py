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

"""A process that serves a tiny application, for test_server.

Takes one JSON object on the command line: ``directory``, where it writes the
file ``url`` once it listens and ``exits`` for each worker that ends;
``certificate`` and ``key`` for TLS; ``settings`` for the server.
"""

import json
import logging
import os
import pathlib
import ssl
import sys
import time

from novajoin import exceptions
from novajoin.wsgi import server


def application(environ, start_response):
    path = environ['PATH_INFO']
    if path == '/early':
        start_response('413 Too Large', [('Content-Length', '0')])
        return []
    body = environ['wsgi.input'].read()
    if path == '/slow':
        time.sleep(1)
    if path == '/boom':
        raise RuntimeError('a secret')
    answer = {
        'pid': os.getpid(),
        'length': len(body),
        'argv': sys.argv[1:] == [],
        'peer': None,
    }
    if isinstance(environ['gunicorn.socket'], ssl.SSLSocket):
        peer = environ['gunicorn.socket'].getpeercert(True)
        answer['peer'] = None if peer is None else len(peer)
    data = json.dumps(answer).encode()
    start_response(
        '200 OK',
        [
            ('Content-Type', 'application/json'),
            ('Content-Length', str(len(data))),
        ],
    )
    return [data]


def render_fault(fault):
    document = {'reason': fault.reason, 'message': fault.message}
    return 'application/json', json.dumps(document).encode()


def main():
    options = json.loads(sys.argv.pop())
    directory = pathlib.Path(options['directory'])
    logging.basicConfig(level=logging.INFO, format='%(message)s')
    tls = None
    if 'certificate' in options:
        context = ssl.create_default_context(
            ssl.Purpose.CLIENT_AUTH, cafile=options['certificate']
        )
        context.load_cert_chain(options['certificate'], options['key'])
        context.verify_mode = ssl.CERT_OPTIONAL

        def tls():
            return context

    def load_settings():
        document = json.loads((directory / 'settings').read_text())
        if 'fault' in document:
            raise exceptions.ConfigurationError('[x] y', document['fault'])
        return server.Settings('127.0.0.1', 0, **document)

    def tell_url(urls):
        temporary = directory / 'url.new'
        temporary.write_text(urls[0])
        temporary.rename(directory / 'url')

    server.Server(
        'test-server',
        server.Settings('127.0.0.1', 0, **options['settings']),
        lambda: application,
        tls=tls,
        render_fault=render_fault,
        load_settings=load_settings,
        on_ready=tell_url,
        on_exit=lambda: (directory / f'exit-{os.getpid()}').touch(),
    ).run()


if __name__ == '__main__':
    main()
