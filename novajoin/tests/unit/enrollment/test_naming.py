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
"""IDENTITY 2: what nova posts becomes a canonical name, or a clear error."""

import re

from hypothesis import given
from hypothesis import strategies as st

from novajoin import exceptions
from novajoin.enrollment import naming
from novajoin.tests import base

LABEL = re.compile(r'(?!-)[a-z0-9-]{1,63}(?<!-)', re.ASCII)
PROJECT = '1' * 32

hostile = st.one_of(
    st.text(max_size=300),
    st.text(alphabet='aZ09-._*\0/äß。．١ xn', max_size=80),
    st.from_regex(r'(xn--)?[a-z0-9-]{0,70}(\.[a-z0-9-]{0,70}){0,6}\.?'),
)
labels = st.from_regex(LABEL, fullmatch=True).filter(
    lambda label: label[2:4] != '--'
)


def make(names=None, **kwargs):
    kwargs.setdefault('domain', 'example.com')
    return naming.Naming(
        naming.Settings(**kwargs), (names or {PROJECT: 'admin'}).get
    )


def canonicalize(text):
    try:
        return naming.canonicalize(text)
    except exceptions.InvalidHostname as exc:
        assert exc.message.isprintable(), exc.message
        return None


class CanonicalizeTestCase(base.TestCase):
    @given(hostile)
    def test_any_text(self, text):
        """A canonical name or InvalidHostname, and nothing between."""
        name = canonicalize(text)
        if name is None:
            return
        self.assertLessEqual(len(name), 253)
        for label in name.split('.'):
            self.assertRegex(label, '^%s$' % LABEL.pattern)
        self.assertEqual(name, naming.canonicalize(name))
        self.assertEqual(name, naming.canonicalize(name.upper()))
        self.assertEqual(name, naming.canonicalize(name + '.'))

    @given(st.lists(labels, min_size=1, max_size=3))
    def test_valid(self, parts):
        name = '.'.join(parts)
        self.assertEqual(name, naming.canonicalize(name))

    def test_known(self):
        for text, expected in (
            ('WEB', 'web'),
            ('web.', 'web'),
            ('1', '1'),
            ('bücher', 'xn--bcher-kva'),
            ('BÜCHER.Example', 'xn--bcher-kva.example'),
            ('xn--bcher-kva', 'xn--bcher-kva'),
            ('XN--BCHER-KVA', 'xn--bcher-kva'),
            ('a' * 63, 'a' * 63),
            ('ｗｅｂ', 'web'),
        ):
            self.assertEqual(expected, naming.canonicalize(text))

    def test_refused(self):
        """The issue's list of hostile hostnames."""
        for text in (
            '',
            '.',
            '..',
            'a..b',
            '.a',
            'a..',
            'a\0b',
            'a/b',
            '../etc/passwd',
            'a b',
            'a\n',
            'a_b',
            '-a',
            'a-',
            '*',
            '*.example',
            'a' * 64,
            'a' * 300,
            '.'.join(['a' * 63] * 4),
            'a' * 2000,
            'xn--',
            'xn--a',
            'xn--zzzzzz99999',
            'ab--cd',
            '$(reboot)',
            '{{ 7*7 }}',
            "a'; DROP TABLE names; --",
            '\u202eweb',
            'ａ。b。',
            'web\u200d',
            '🚀',
            '\udc80',
        ):
            error = self.assertRaises(
                exceptions.InvalidHostname, naming.canonicalize, text
            )
            # What is quoted cannot write to a terminal or a log.
            self.assertTrue(error.message.isprintable(), error.message)
            self.assertTrue(error.message.isascii() or '…' in error.message)
            self.assertLess(len(error.message), 600)


class NormalizeTestCase(base.TestCase):
    """NJ7: project names become labels."""

    @given(st.text(max_size=200))
    def test_any_text(self, text):
        """A label that later steps accept, or InvalidHostname."""
        try:
            label = naming.normalize_label(text)
        except exceptions.InvalidHostname:
            return
        self.assertEqual(label, naming.canonicalize(label))
        self.assertNotIn('.', label)
        self.assertLessEqual(len(label), 63)

    def test_known(self):
        for text, expected in (
            ('Admin', 'admin'),
            ('my project', 'my-project'),
            ('__x__', 'x'),
            ('a  &  b', 'a-b'),
            ('-a-', 'a'),
            ('x' * 100, 'x' * 63),
            ('x' * 62 + '-y', 'x' * 62),
            ('ab--cd', 'ab-cd'),
            ('Bücher', 'xn--bcher-kva'),
            ('Büch er', 'b-ch-er'),
            ('xn--a', 'xn-a'),
            ('xn--bcher-kva', 'xn--bcher-kva'),
            ('a.b', 'a-b'),
        ):
            self.assertEqual(expected, naming.normalize_label(text), text)

    def test_nothing_left(self):
        for text in ('', '---', '日 本', '!!!'):
            self.assertRaises(
                exceptions.InvalidHostname, naming.normalize_label, text
            )


class NamingTestCase(base.TestCase):
    def test_short(self):
        self.assertEqual('web.example.com', make().get_fqdn('Web', PROJECT))

    def test_full(self):
        """A full name is one label plus the home zone or an allowed one."""
        given = make(allowed_zones=lambda project: ('lab.test',))
        self.assertEqual(
            'web.example.com', given.get_fqdn('WEB.Example.COM.', PROJECT)
        )
        self.assertEqual(
            'web.lab.test', given.get_fqdn('web.lab.test', PROJECT)
        )
        for name in (
            'web.other.test',
            'a.web.example.com',
            'a.b.lab.test',
            'example.com',
            'web.com',
        ):
            error = self.assertRaises(
                exceptions.ForeignZone, given.get_fqdn, name, PROJECT
            )
            self.assertEqual('hostname_zone', error.reason)
            self.assertIn(repr(name), error.message)
            self.assertIn('zones', error.message)

    def test_allowed_zones_are_of_a_project(self):
        given = make(
            allowed_zones=lambda project: (
                ('lab.test',) if project == PROJECT else ()
            )
        )
        self.assertRaises(
            exceptions.InvalidHostname, given.get_fqdn, 'web.lab.test', 'x'
        )

    def test_too_long_with_the_domain(self):
        given = make(domain='.'.join(['d' * 63] * 3))
        self.assertEqual(253, len(given.get_fqdn('a' * 61, PROJECT)))
        self.assertRaises(
            exceptions.InvalidHostname, given.get_fqdn, 'a' * 62, PROJECT
        )

    def test_the_whole_name_is_shown(self):
        """Not the label at fault, which may be empty; never unescaped."""
        for name, shown in (
            ('..', "'..'"),
            ('a..b', "'a..b'"),
            ('.a', "'.a'"),
            ('../../etc/passwd', "'../../etc/passwd'"),
            ('web.a_b.example.com', "'web.a_b.example.com'"),
            ('a\0b\n', r"'a\x00b\n'"),
            ('x' * 300, "'%s…" % ('x' * 80)),
            ('\N{SNOWMAN}' * 80, "'%s…" % (r'\u2603' * 14)[:80]),
        ):
            error = self.assertRaises(
                exceptions.InvalidHostname, make().get_fqdn, name, PROJECT
            )
            self.assertEqual('hostname_invalid', error.reason)
            self.assertIn('The hostname %s ' % shown, error.message)

    def test_reserved(self):
        """The check-in service's name and its subtree, and what is set."""
        given = make(
            reserved=frozenset({'join.example.com', 'ipa.lab.test'}),
            allowed_zones=lambda project: (
                'join.example.com',
                'lab.test',
            ),
        )
        for name in (
            'join',
            'JOIN',
            'join.example.com.',
            'www.join.example.com',
            'ipa.lab.test',
        ):
            error = self.assertRaises(
                exceptions.ReservedHostname, given.get_fqdn, name, PROJECT
            )
            self.assertEqual('hostname_reserved', error.reason)
            self.assertIn(repr(name), error.message)
            self.assertIn('reserved', error.message)
        self.assertEqual('xjoin.example.com', given.get_fqdn('xjoin', PROJECT))

    def test_project_subdomain(self):
        given = make(
            names={'1': 'Ad min', '2': '日 本', '3': 'admin'},
            project_subdomain=True,
        )
        self.assertEqual(
            'test.ad-min.example.com', given.get_fqdn('test', '1')
        )
        self.assertEqual(
            'test.admin.example.com',
            given.get_fqdn('test.admin.example.com', '3'),
        )
        for name, project in (
            ('test', '2'),
            ('test', '4'),
            ('test.example.com', '1'),
            ('test.admin.example.com', '1'),
        ):
            self.assertRaises(
                exceptions.InvalidHostname, given.get_fqdn, name, project
            )

    def test_without_normalization(self):
        given = make(
            names={'1': 'Ad min', '2': 'Admin'},
            project_subdomain=True,
            normalize_project=False,
        )
        self.assertEqual('admin.example.com', given.find_subdomain('2'))
        self.assertRaises(
            exceptions.InvalidHostname, given.find_subdomain, '1'
        )

    def test_no_subdomain(self):
        self.assertIsNone(make().find_subdomain(PROJECT))

    @given(hostile)
    def test_any_hostname(self, text):
        """Whatever is posted ends one label below the domain, or fails."""
        try:
            name = make(reserved=frozenset({'x.example.com'})).get_fqdn(
                text, PROJECT
            )
        except exceptions.InvalidHostname:
            return
        self.assertTrue(name.endswith('.example.com'), name)
        self.assertEqual(3, len(name.split('.')))
        self.assertLessEqual(len(name), 253)

    def test_is_within(self):
        self.assertTrue(naming.is_within('a.b', 'a.b'))
        self.assertTrue(naming.is_within('x.a.b', 'a.b'))
        self.assertFalse(naming.is_within('xa.b', 'a.b'))
