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
"""What the guest client refuses to act on, and what it then leaves alone."""

import base64
from collections.abc import Callable
import json
import pathlib
from typing import Any

from novajoin.tests.unit.guest import harness
from novajoin.tests.unit.guest import peer as est

# A value that means something to a shell, to awk or to openssl's
# configuration file; each would leave a file `pwned` if it were run.
SPECIALS = (
    '$(touch pwned)',
    '`touch pwned`',
    "'; touch pwned; '",
    '"; touch pwned; "',
    'a\ntouch pwned',
    'a\n[san]\nDNS.9 = evil.example.test',
    'a\tb',
    'a\x00b',
    'a,DNS:evil.example.test',
    '${ENV::PATH}',
    '$HOME',
    'a\\',
    '# a',
    '../../etc/passwd',
    '/etc/passwd',
    '*',
    '-h',
    'a b',
    'ü',
    '\u202e',
    '',
    'a' * 300,
    '%s%n',
)

HOSTS = (
    'Web-1.example.test',
    'web-1.example.test.',
    '.example.test',
    'web..test',
    '-web.example.test',
    'web-.example.test',
    '*.example.test',
    'web_1.example.test',
    f'{"a" * 64}.test',
    '.'.join(['a' * 60] * 5),
)

ADDRESSES = (
    '1.2.3',
    '1.2.3.4.5',
    '1.2.3.4/24',
    'web-1',
    'fe80::1%eth0',
    '[::1]',
    ':::1',
)

URLS = (
    'http://127.0.0.1:1',
    'ftp://127.0.0.1',
    'HTTPS://127.0.0.1',
    'https://',
    'https://user@127.0.0.1',
    'https://user:pass@127.0.0.1',
    'https://127.0.0.1:0',
    'https://127.0.0.1:65536',
    'https://127.0.0.1:x',
    'https://127.0.0.1:1:2',
    'https://127.0.0.1?x',
    'https://127.0.0.1#x',
    'https://127.0.0.1/a b',
    'https://127.0.0.1/%2e%2e',
    'https://[::1',
    'https://[::1]x',
    'https://[fe80::1%25]',
    'https://[fe80::1%25$(touch pwned)]',
    'https://127.0.0.1/\nfile:///etc/passwd',
    'https://-oProxyCommand',
    '--help',
)


class TestPayload(harness.GuestTestCase):
    """Bad input gets a clear error and changes nothing (EM17)."""

    def check(self, words: str, payload: Any) -> None:
        self.write_drive(payload)
        done = self.run_client()
        self.assertRefused(5, 'is refused: ', done)
        self.assertIn(words, done.stderr)
        self.assertTrue(done.stderr[:-1].isprintable(), done.stderr)

    def tearDown(self) -> None:
        self.assertEqual([], self.peer.requests)
        self.assertNothingKept()
        self.assertEqual([], list(self.folder.rglob('*pwned*')))
        super().tearDown()

    def test_specials(self) -> None:
        """Values that want to be commands, where they would be used."""
        places: list[tuple[str, Callable[[str], dict[str, Any]]]] = [
            ('csr.dns.0', lambda value: {'csr__dns': [value]}),
            ('csr.uri.0', lambda value: {'csr__uri': [value]}),
            ('csr.ip.0', lambda value: {'csr__ip': [value]}),
            (
                'checkin.0.url',
                lambda value: {'checkin': [{'url': value, 'priority': 1}]},
            ),
            ('token', lambda value: {'token': value}),
        ]
        for index, value in enumerate(SPECIALS):
            words, changes = places[index % 5]
            self.check(words, self.make_payload(**changes(value)))
        for words, changes in places:
            self.check(words, self.make_payload(**changes(SPECIALS[0])))

    def test_subjects(self) -> None:
        for value in (*SPECIALS[3:13], 'ü'):
            self.check(
                'csr.subject', self.make_payload(csr__subject=[['CN', value]])
            )

    def test_forms(self) -> None:
        for values, words, place in (
            (HOSTS, 'csr.dns.0 is not a host name', 'csr__dns'),
            (ADDRESSES, 'csr.ip.0 is not an IP address', 'csr__ip'),
        ):
            for value in values:
                self.check(words, self.make_payload(**{place: [value]}))
        for value in URLS:
            self.check(
                'checkin.0.url is not a plain https URL',
                self.make_payload(checkin=[{'url': value, 'priority': 1}]),
            )

    def test_fields(self) -> None:
        """Wrong types, missing fields, unknown majors."""
        url = {'url': 'https://127.0.0.1:1'}
        for words, changes in (
            ('version 1 of it only', {'schema': 'novajoin.bootstrap/2'}),
            ('version 1 of it only', {'schema': 'novajoin.bootstrap/10'}),
            ('another schema', {'schema': 'other/1'}),
            ('another schema', {'schema': None}),
            ('another schema', {'schema': 1}),
            ('instance.uuid', {'instance__uuid': self.uuid.upper()}),
            (
                'instance.uuid',
                {'instance__uuid': '../../../../../../etc/passwd'},
            ),
            ('instance.uuid', {'instance__uuid': None}),
            ('instance.uuid', {'instance': [self.uuid]}),
            ('seq, epoch or', {'seq': '1'}),
            ('seq, epoch or', {'seq': -1}),
            ('seq, epoch or', {'seq': 1.5}),
            ('seq, epoch or', {'seq': 10**16}),
            ('seq, epoch or', {'instance__epoch': True}),
            ('seq, epoch or', {'instance__generation': None}),
            ('issued_at', {'issued_at': '2026-11-20 10:00:00'}),
            ('issued_at', {'issued_at': '2026-11-20T10:00:00+01:00'}),
            ('issued_at', {'issued_at': '2026-11-20T10:00:00.5Z'}),
            ('issued_at', {'issued_at': 1795168800}),
            ('expires_at', {'expires_at': 'never'}),
            ('csr.subject is missing', {'csr__subject': []}),
            ('csr.subject has another form', {'csr__subject': 'CN=a'}),
            ('csr.subject.0 has another form', {'csr__subject': [['CN']]}),
            (
                'csr.subject.0 has another form',
                {'csr__subject': [['CN', 'a', 'b']]},
            ),
            ('csr.subject.0.1', {'csr__subject': [['CN', 1]]}),
            ('not known', {'csr__subject': [['emailAddress', 'a@b.test']]}),
            ('not known', {'csr__subject': [['CN = a\nC', 'b']]}),
            ('csr names nothing', {'csr__dns': [], 'csr__uri': []}),
            ('csr.dns has another form', {'csr__dns': 'web-1.example.test'}),
            ('csr.dns.0 has another form', {'csr__dns': [['a.test']]}),
            ('csr.dns.0 has another form', {'csr__dns': [1]}),
            ('csr.dns.0 has another form', {'csr__dns': [None]}),
            ('csr.uri.0', {'csr__uri': ['https://example.test']}),
            ('csr.keys has no kind', {'csr__keys': ['ml-dsa-65']}),
            ('csr.keys has no kind', {'csr__keys': None}),
            ('checkin has no URL', {'checkin': []}),
            ('checkin has no URL', {'checkin': None}),
            ('has no priority', {'checkin': [url]}),
            ('has no priority', {'checkin': [{'priority': 1}, url]}),
            ('not a number', {'checkin': [{**url, 'priority': -1}]}),
            ('not a number', {'checkin': [{**url, 'priority': '1'}]}),
            ('token', {'token': 'short'}),
            ('token', {'token': ['njt1_' + 'a' * 58]}),
        ):
            self.check(words, self.make_payload(**changes))

    def test_ca(self) -> None:
        """EM12: exactly one certificate, and nothing behind it."""
        der = self.authority.root_der()
        for words, value in (
            ('ca is not base64', 'not base64!'),
            ('ca is not base64', None),
            ('ca is not base64', [base64.b64encode(der).decode()]),
            ('ca is not a certificate', base64.b64encode(b'x').decode()),
            (
                'ca is not exactly one certificate',
                base64.b64encode(der + der).decode(),
            ),
            (
                'ca is not exactly one certificate',
                base64.b64encode(der + b'\0').decode(),
            ),
        ):
            self.check(words, self.make_payload(ca=value))

    def test_bootstrap(self) -> None:
        """The envelope: version, encoding, digest over the exact bytes."""
        good = self.bootstrap()
        data = harness.canonical(self.payload)
        long = harness.canonical({**self.payload, 'x': 'x' * 16384})
        for words, bootstrap in (
            ("v is '2'", {**good, 'v': 2}),
            ("v is '1'", {**good, 'v': '1'}),
            ("v is ''", {k: good[k] for k in ('payload', 'sha256')}),
            ('its SHA-256 is', {**good, 'sha256': '0' * 64}),
            ('64 hexadecimal', {**good, 'sha256': good['sha256'].upper()}),
            ('64 hexadecimal', {**good, 'sha256': good['sha256'][:32]}),
            ('64 hexadecimal', {**good, 'sha256': None}),
            ('not base64', {**good, 'payload': '!'}),
            ('not base64', {**good, 'payload': ''}),
            ('not base64', {**good, 'payload': good['payload'] + '\n'}),
            ('not a string', {**good, 'payload': 1}),
            ('not an object', ['a']),
            ('not an object', 'abc'),
            (
                'its SHA-256 is',
                {**self.bootstrap(data + b' '), 'sha256': good['sha256']},
            ),
            ('longer than 16384', self.bootstrap(long)),
            ('ends too early', self.bootstrap(data[:-1])),
            ('a key twice', self.bootstrap(data[:-1] + b',"seq":2}')),
            ('control character', self.bootstrap(data + b'\0')),
            ('unknown word', self.bootstrap(b'\x7fELF')),
        ):
            self.write_drive(join={'bootstrap': bootstrap})
            done = self.run_client()
            self.assertRefused(5, 'is refused: ', done)
            self.assertIn(words, done.stderr)

    def test_vendordata(self) -> None:
        path = self.drive / 'openstack/latest/vendor_data2.json'
        good = path.read_text()
        for words, text in (
            ('ends too early', good[:-1]),
            ('not closed', good.replace('"}}', '}}')),
            ('a key twice', good[:-1] + ', "join": {}}'),
            ('unknown word', '<html>'),
            ('ends too early', ''),
            ('longer than', '{"x": "%s"}' % ('x' * 4194304)),
        ):
            path.write_text(text)
            self.assertRefused(5, words, self.run_client())

    def test_of_another_instance(self) -> None:
        """A drive that is put together from two does not enroll."""
        self.write_drive(meta_uuid='9baef604-e3c9-4708-9b18-8e9fef008537')
        self.assertRefused(
            5,
            'this is 9baef604-e3c9-4708-9b18-8e9fef008537',
            self.run_client(),
        )


class TestHarmless(harness.GuestTestCase):
    """What may stand in a payload and changes nothing."""

    def test_unknown_keys(self) -> None:
        self.write_drive(
            self.make_payload(
                schema='novajoin.bootstrap/1',
                csr__future=['x'],
                checkin=[{'url': self.peer.url, 'priority': 1, 'weight': [1]}],
                network={'dns': [SPECIALS]},
                zz=dict.fromkeys(SPECIALS),
            )
        )
        self.enroll()
        self.assertEqual([], list(self.folder.rglob('*pwned*')))

    def test_plain_subject(self) -> None:
        """Blanks and slashes are text; no other attribute comes of them."""
        value = 'a b/CN=c + O=d:e@f'
        self.write_drive(
            self.make_payload(csr__subject=[['CN', value], ['OU', '-h']])
        )
        self.enroll()
        [request] = self.peer.asked(est.CSR_PATH)
        self.assertEqual(
            [value, '-h'], [part.value for part in request.csr().subject]
        )

    def test_vendordata_of_others(self) -> None:
        """Other targets may say what they like, in any JSON."""
        path = self.drive / 'openstack/latest/vendor_data2.json'
        document = {
            'bootstrap': self.bootstrap(),
            'a': {f'{i}"\\': [SPECIALS, {'join': None}] for i in range(200)},
            **json.loads(path.read_text()),
        }
        path.write_text(json.dumps(document, indent='\t', ensure_ascii=False))
        self.enroll()

    def test_recorded_drive(self) -> None:
        """NJ6: what nova 34 wrote on a drive, with our answer in it."""
        path = pathlib.Path(__file__).parent / 'recorded/kvm-config-drive.json'
        recorded = json.loads(path.read_text())
        latest = self.drive / 'openstack/latest'
        vendordata = recorded['/mnt/openstack/latest/vendor_data2.json']
        answer = json.dumps({'bootstrap': self.bootstrap()})
        (latest / 'vendor_data2.json').write_text(
            vendordata.replace('{"ipaotp": "answer-to-post-36"}', answer)
        )
        (latest / 'meta_data.json').write_text(
            recorded['meta_data.json'].replace(
                '82cd36b6-6bae-472a-b7ea-660221174e84', self.uuid
            )
        )
        self.enroll()

    def test_meta_data_that_is_no_json(self) -> None:
        (self.drive / 'openstack/latest/meta_data.json').write_text('<html>')
        done = self.run_client()
        self.assertEqual(0, done.returncode, done.stderr)
        self.assertIn('it is left out', done.stderr)
