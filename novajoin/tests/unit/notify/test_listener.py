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

import threading
from unittest import mock

import fixtures
from oslo_config import cfg
import oslo_messaging
import testscenarios

from novajoin import exceptions
from novajoin.conf import notify
from novajoin.notify import listener
from novajoin.tests import base


def build_conf(directory, text=''):
    """Return a configuration read from a file."""
    path = directory / 'join.conf'
    path.write_text(text)
    conf = cfg.ConfigOpts()
    notify.register_opts(conf)
    conf(['--config-file', str(path)], default_config_dirs=[])
    return conf


class ListenerCase(base.TestCase):
    def build_conf(self, text=''):
        return build_conf(self.make_directory(), text)


class TestFindUrl(testscenarios.WithScenarios, ListenerCase):
    scenarios = [
        ('unset', {'text': '', 'url': None}),
        (
            'default section',
            {
                'text': '[DEFAULT]\ntransport_url = fake://\n',
                'url': 'fake://',
            },
        ),
        (
            'empty',
            {'text': '[DEFAULT]\ntransport_url =\n', 'url': None},
        ),
        (
            'own section',
            {
                'text': '[DEFAULT]\ntransport_url = fake://\n'
                '[oslo_messaging_notifications]\n'
                'transport_url = rabbit://u:p@h:5672/v\n',
                'url': 'rabbit://u:p@h:5672/v',
            },
        ),
        (
            'a rabbit that is named',
            {
                'text': '[DEFAULT]\ntransport_url = rabbit://\n',
                'url': 'rabbit://',
            },
        ),
    ]

    def test_find_url(self):
        self.assertEqual(
            self.url, listener.find_url(self.build_conf(self.text))
        )


class TestWrongUrl(testscenarios.WithScenarios, ListenerCase):
    """A wrong URL is one line that names the option, without the URL."""

    scenarios = [
        (url, {'url': url})
        for url in (
            'rabbit://u:a-password@h:port/',
            'rabbit:u:a-password@h',
            'a-password',
            'nosuch://u:a-password@h/',
        )
    ]

    def test_refused(self):
        conf = self.build_conf('[DEFAULT]\ntransport_url = %s\n' % self.url)
        error = self.assertRaises(
            exceptions.ConfigurationError, listener.find_url, conf
        )
        self.assertEqual('[DEFAULT] transport_url', error.option)
        self.assertNotIn('a-password', error.message)


class TestOptions(ListenerCase):
    def test_options_of_novajoin_1_3_0(self):
        conf = self.build_conf(
            '[DEFAULT]\nnotifications_topic = novajoin_notifications\n'
            'notification_format = versioned\n'
        )
        self.assertEqual(['novajoin_notifications'], conf.notify.topics)
        self.assertEqual('versioned', conf.notify.notification_format)

    def test_defaults(self):
        conf = self.build_conf()
        self.assertEqual(
            ['notifications', 'versioned_notifications'], conf.notify.topics
        )
        self.assertEqual(['nova', 'neutron'], conf.notify.exchanges)
        self.assertEqual('novajoin', conf.notify.pool)


class TestListener(ListenerCase):
    def test_no_broker_at_all(self):
        """On the embedded defaults there is no broker, and that is told."""
        log = self.useFixture(fixtures.FakeLogger())
        conf = self.build_conf()
        subject = listener.Listener(conf, conf.notify, [])
        subject.start()
        self.assertIn('NOT listened to', log.output)
        self.assertFalse(subject.is_listening)
        subject.stop(0)

    def test_a_listener_that_cannot_start(self):
        log = self.useFixture(fixtures.FakeLogger())
        conf = self.build_conf('[DEFAULT]\ntransport_url = fake://\n')
        conf.set_override('topics', ['a'], 'notify')
        # An endpoint without a method makes oslo.messaging refuse.
        subject = listener.Listener(conf, object(), [])
        subject.start()
        subject._thread.join()
        subject.stop(30)
        self.assertFalse(subject.is_listening)
        self.assertIn('could not be started', log.output)


class TestStop(ListenerCase):
    def test_before_there_was_a_broker(self):
        """A stop does not wait for a broker, and one that comes is left."""
        conf = self.build_conf('[DEFAULT]\ntransport_url = fake://\n')
        connecting = threading.Event()
        go_on = threading.Event()
        self.addCleanup(go_on.set)
        connect = oslo_messaging.get_notification_transport

        def connect_slowly(*args, **kwargs):
            connecting.set()
            go_on.wait(30)
            return connect(*args, **kwargs)

        with mock.patch.object(
            oslo_messaging,
            'get_notification_transport',
            autospec=True,
            side_effect=connect_slowly,
        ):
            subject = listener.Listener(conf, conf.notify, [])
            subject.start()
            self.assertTrue(connecting.wait(30))
            subject.stop(3600)
            go_on.set()
            subject._thread.join(30)
        self.assertFalse(subject._server._started)


class TestFake(ListenerCase):
    """In one process, oslo.messaging's own fake does for a broker."""

    def test_both_topics_of_both_exchanges(self):
        conf = self.build_conf('[DEFAULT]\ntransport_url = fake://\n')
        seen = []
        all_seen = threading.Event()

        class Endpoint:
            def info(self, context, publisher, event_type, payload, metadata):
                seen.append(event_type)
                if len(seen) == 4:
                    all_seen.set()

        subject = listener.Listener(conf, conf.notify, [Endpoint()])
        subject.start()
        subject._thread.join()
        self.assertTrue(subject.is_listening)
        expected = set()
        for exchange in ('nova', 'neutron'):
            other = build_conf(
                self.make_directory(),
                '[DEFAULT]\ntransport_url = fake://\ncontrol_exchange = %s\n'
                % exchange,
            )
            transport = oslo_messaging.get_notification_transport(other)
            for topic in ('notifications', 'versioned_notifications'):
                event_type = '%s.%s' % (exchange, topic)
                expected.add(event_type)
                oslo_messaging.Notifier(
                    transport, 'a', driver='messagingv2', topics=[topic]
                ).info({}, event_type, {})
        self.assertTrue(all_seen.wait(30))
        subject.stop(30)
        self.assertEqual(expected, set(seen))
