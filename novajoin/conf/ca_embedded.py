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
"""Options of the section [ca_embedded]: novajoin's own CA."""

import copy

from oslo_config import cfg
from oslo_config import types

GROUP = cfg.OptGroup(
    'ca_embedded',
    title='The embedded CA',
    help="""
A root, an intermediate for the check-in service and one for the instances,
made at the first start below ``ca`` in the key repository. What is said below
about keys and lifetimes of CAs takes effect when a CA is made: at the first
start, or with ``novajoin-manage keys rotate ca/service`` and ``ca/instance``.
""",
)

OPTIONS: list[cfg.Opt] = [
    cfg.BoolOpt(
        'create',
        default=True,
        help="""
Make a root and both intermediates when the key repository holds none. Turn it
off on every host but one before its first start, and copy the repository
there: two hosts that each make a root of their own do not trust each other.
""",
    ),
    cfg.StrOpt(
        'name',
        default='novajoin',
        regex=r'[A-Za-z0-9][A-Za-z0-9 ._-]{0,31}$',
        help="""
What the names of the CAs begin with: "novajoin instance CA 0123456789abcdef".
Change it when one trust store holds the roots of several clouds, so that
people can tell them apart. At most 32 letters, digits, spaces, dots, dashes
and underscores.
""",
    ),
    cfg.StrOpt(
        'key_type',
        default='ec-p256',
        choices=[
            ('ec-p256', 'ECDSA with P-256 and SHA-256'),
            ('ec-p384', 'ECDSA with P-384 and SHA-384'),
            ('rsa-3072', 'RSA with 3072 bits and SHA-256'),
        ],
        help="""
The keys of the CAs. ``ec-p256`` is verified everywhere and signs fastest.
Choose ``ec-p384`` where a policy demands it, and ``rsa-3072`` only for guests
that cannot verify ECDSA: it signs some thirty times slower and makes larger
documents.
""",
    ),
    cfg.IntOpt(
        'root_lifetime',
        default=7300,
        min=30,
        max=18250,
        help="""
Days for which the root is valid. Instances trust it for as long as they live,
and it cannot be replaced below them: keep it well above the life of the oldest
instance. Default: 20 years.
""",
    ),
    cfg.IntOpt(
        'intermediate_lifetime',
        default=1825,
        min=2,
        max=7300,
        help="""
Days for which the two intermediates are valid, and never longer than the root.
Rotate an intermediate when what it has left comes near to the lifetime of what
it issues, as nothing outlives its issuer.
Default: 5 years.
""",
    ),
    cfg.IntOpt(
        'service_certificate_lifetime',
        default=2592000,
        min=3600,
        max=34128000,
        help="""
Seconds for which the check-in service's own certificate is valid. The service
renews it at two thirds of that without a restart, for which
``novajoin-notify`` has to run: lower it only as far as that may stand still.
Default: 30 days.
""",
    ),
    cfg.IntOpt(
        'crl_lifetime',
        default=86400,
        min=600,
        max=604800,
        help="""
Seconds from a CRL to its nextUpdate. A new one is signed after half of it, and
soon after each revocation. Lower it when those who verify keep a CRL until it
expires and revocations have to reach them sooner; raise it when they may be
cut off for longer than a day. Default: one day.
""",
    ),
    cfg.IntOpt(
        'root_crl_lifetime',
        default=365,
        min=1,
        max=3650,
        help="""
Days from a CRL of the root to its nextUpdate. It holds intermediates whose
keys have leaked. A new one is signed when half of it is over, as long as the
root's key is in the key repository, and with each ``novajoin-manage keys
rotate ca/service``, ``ca/instance`` and ``keys compromise``. While the key is
offline it has to last from one of these to the next; ``novajoin-status`` warns
when a quarter is left. Default: one year.
""",
    ),
    cfg.ListOpt(
        'extended_key_usages',
        default=['clientAuth', 'serverAuth'],
        help="""
What instances' certificates may be used for, by OpenSSL's names: clientAuth,
serverAuth, codeSigning, emailProtection, ipsecIKE. clientAuth has to be among
them: an instance renews its certificate with it. They are on the instance
intermediate too, so that it can issue for nothing else: no process starts with
one that the intermediate lacks, before ``novajoin-manage keys rotate
ca/instance`` was run. One that is left out is in no certificate any more; one
that is new is in those of enrollments that are opened or reissued from then
on. Leave out ``serverAuth`` where instances must not act as servers.
""",
    ),
    cfg.ListOpt(
        'ip_networks',
        default=[],
        item_type=types.String(),
        help="""
Networks, as 192.0.2.0/24 or 2001:db8::/64, whose addresses the instance
intermediate may put into certificates. Empty, it can certify no address at
all. Name only provider networks whose addresses nobody else can have: tenants'
networks overlap, and floating IP addresses move.
""",
    ),
    cfg.URIOpt(
        'crl_url',
        schemes=['http', 'https'],
        help="""
Where those who verify certificates fetch CRLs: the URL before
``/crl/<id>.crl``, for instance ``http://pki.example.com``. Set it when what
verifies the instances looks for a CRL distribution point; the address has to
serve what ``novajoin-checkin`` serves below ``/crl/``. It is in certificates
issued from then on, those of the check-in service and of new intermediates
included. Use ``http``, since a CRL is signed: with ``https`` the certificates
of the check-in service and its intermediate name none, as it would take the
CRL to verify the connection over which it is fetched. Default: certificates
name none.
""",
    ),
    cfg.URIOpt(
        'issuer_url',
        schemes=['http', 'https'],
        help="""
Where those who verify certificates fetch the instance intermediate (Authority
Information Access), as one DER file. Set it only for software that cannot be
given the intermediate; everything that speaks TLS gets it in the handshake.
Default: certificates name none.
""",
    ),
]


def register_opts(conf: cfg.ConfigOpts) -> None:
    """Register the options of this section."""
    conf.register_group(copy.deepcopy(GROUP))
    conf.register_opts(OPTIONS, group=GROUP.name)


def list_opts() -> list[tuple[cfg.OptGroup, list[cfg.Opt]]]:
    """Return the options for the sample configuration."""
    return [(GROUP, OPTIONS)]
