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
"""The matcher: a CSR asks for exactly what was injected, or is refused.

A CSR proves that its sender holds a private key and shows that sender and
server mean the same identity. Nothing of it but the public key gets into a
certificate. So the rule is equality, not "at most": whatever is more, less
or other is refused, each with its own reason (``csr_mismatch.<field>``; the
fields are :data:`FIELDS`).

Two spellings of the same thing are taken as equal, and no others:

* A subject's text may be a UTF8String or a PrintableString. RFC 5280 section
  4.1.2.4 leaves a client no other choice, common clients differ in which one
  they write (OpenSSL the one, Go and Java the other), and for the ASCII text
  of a template both hold the same bytes. The same text as TeletexString,
  BMPString, IA5String and the like is refused, and so is a PrintableString
  with characters that it cannot hold.
* An extension may be marked critical or not; alternative names and usages
  may come in any order, but once each.
"""

from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Iterator
from collections.abc import Mapping
import contextlib
import dataclasses
import functools
import hashlib
import ipaddress
import re
from typing import Final
from typing import NoReturn

from cryptography import exceptions as crypto_exceptions
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509 import oid

from novajoin import exceptions
from novajoin import models
from novajoin.ca import der
from novajoin.ca import profiles

#: Bytes of DER; a request with an RSA key of 4096 bits has about 1700.
MAX_SIZE: Final = 8192

#: Why a request does not match: the ``<field>`` of ``csr_mismatch.<field>``.
FIELDS: Final[Mapping[str, str]] = {
    'version': 'It is not of version 1.',
    'subject_count': 'Its subject has parts that were not injected.',
    'subject_missing': 'Its subject lacks parts that were injected.',
    'subject_multivalued': 'A part of its subject has several values.',
    'subject_encoding': 'Its subject has text that is neither a UTF8String '
    'nor a valid PrintableString.',
    'subject_attribute': 'Its subject has other attributes than were '
    'injected.',
    'subject': 'Its subject differs from what was injected.',
    'cn_count': 'Its subject has more than one common name.',
    'cn_nul': 'Its common name holds a NUL or another control character.',
    'cn_case': 'Its common name differs in upper and lower case.',
    'cn_trailing_dot': 'Its common name ends with a dot.',
    'cn_wildcard': 'Its common name is a wildcard.',
    'cn_not_ascii': 'Its common name is not ASCII; use the A-label.',
    'cn': 'Its common name is not the one that was injected.',
    'san_missing': 'It has no subject alternative names.',
    'san_duplicate': 'A subject alternative name is there twice.',
    'san_type': 'It has a subject alternative name of a type that cannot '
    'be injected.',
    'dns_nul': 'A DNS name holds a NUL or another control character.',
    'dns_case': 'A DNS name differs in upper and lower case.',
    'dns_trailing_dot': 'A DNS name ends with a dot.',
    'dns_wildcard': 'A DNS name is a wildcard.',
    'dns_not_ascii': 'A DNS name is not ASCII; use the A-label.',
    'dns_is_ip': 'A DNS name is an IP address.',
    'dns_idn': 'A DNS name is an internationalized one that was not injected.',
    'dns_extra': 'A DNS name was not injected.',
    'dns_missing': 'A DNS name that was injected is missing.',
    'ip_extra': 'An IP address was not injected.',
    'ip_missing': 'An IP address that was injected is missing.',
    'uri_extra': 'A URI was not injected.',
    'uri_missing': 'A URI that was injected is missing.',
    'email': 'It has an e-mail address among its alternative names.',
    'directory_name': 'It has a directory name among its alternative names.',
    'registered_id': 'It has a registered id among its alternative names.',
    'other_name': 'It has an otherName among its alternative names.',
    'basic_constraints': 'It holds basic constraints.',
    'key_usage': 'Its key usage is not that of the certificate.',
    'eku': 'Its extended key usage is not that of the certificate.',
    'extension_duplicate': 'An extension is there twice.',
    'extension_critical': 'It holds a critical extension that cannot be '
    'asked for.',
    'extension': 'It holds an extension that cannot be asked for.',
    'attribute_duplicate': 'An attribute is there twice.',
    'attribute': 'It holds an attribute other than extensionRequest and '
    'challengePassword.',
}

_EXTENSION_REQUEST: Final = bytes.fromhex('2a864886f70d01090e')
_CHALLENGE_PASSWORD: Final = bytes.fromhex('2a864886f70d010907')

# Attribute types of a subject by their usual short names.
_COMMON_NAME: Final = bytes.fromhex('550403')
_ATTRIBUTE_TYPES: Final[Mapping[str, bytes]] = {
    'CN': _COMMON_NAME,
    'serialNumber': bytes.fromhex('550405'),
    'C': bytes.fromhex('550406'),
    'L': bytes.fromhex('550407'),
    'ST': bytes.fromhex('550408'),
    'O': bytes.fromhex('55040a'),
    'OU': bytes.fromhex('55040b'),
    'UID': bytes.fromhex('0992268993f22c640101'),
    'DC': bytes.fromhex('0992268993f22c640119'),
}

_PRINTABLE: Final = re.compile(rb"[A-Za-z0-9 '()+,\-./:=?]*")
_CONTROL: Final = re.compile('[\x00-\x1f\x7f-\x9f]')

_SIGNATURE_ALGORITHMS: Final = frozenset(
    {
        oid.SignatureAlgorithmOID.ECDSA_WITH_SHA256,
        oid.SignatureAlgorithmOID.ECDSA_WITH_SHA384,
        oid.SignatureAlgorithmOID.ECDSA_WITH_SHA512,
        oid.SignatureAlgorithmOID.RSA_WITH_SHA256,
        oid.SignatureAlgorithmOID.RSA_WITH_SHA384,
        oid.SignatureAlgorithmOID.RSA_WITH_SHA512,
    }
)

_ASKED_FOR: Final = (
    x509.SubjectAlternativeName,
    x509.KeyUsage,
    x509.ExtendedKeyUsage,
)

_FORBIDDEN_NAMES: Final[tuple[tuple[type[x509.GeneralName], str], ...]] = (
    (x509.RFC822Name, 'email'),
    (x509.DirectoryName, 'directory_name'),
    (x509.RegisteredID, 'registered_id'),
    (x509.OtherName, 'other_name'),
)

# Whatever the library raises on bytes that it does not like.
_DECODING_ERRORS: Final = (
    ValueError,
    TypeError,
    OverflowError,
    crypto_exceptions.UnsupportedAlgorithm,
    crypto_exceptions.InternalError,
)


@dataclasses.dataclass(frozen=True, slots=True)
class MatchedCsr:
    """What is left of a CSR once it matches.

    :ivar public_key: DER SubjectPublicKeyInfo, in its one canonical form
    :ivar public_key_sha256: its digest; 32 bytes
    :ivar key_type: for instance ``ec-p256``
    """

    public_key: bytes
    public_key_sha256: bytes
    key_type: str


@dataclasses.dataclass(frozen=True, slots=True)
class ServiceRequest:
    """What a check-in process asks for.

    :ivar key: its public key
    :ivar dns: DNS names, sorted, lower-case
    :ivar ip: IP addresses in their canonical text form, sorted
    """

    key: MatchedCsr
    dns: tuple[str, ...]
    ip: tuple[str, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class _Part:
    """One attribute of a subject.

    :ivar type: DER of its object identifier, without tag and length
    :ivar text: as it stands there
    :ivar is_text: whether it is of one of the two string types accepted
    """

    type: bytes
    text: bytes
    is_text: bool = True


@dataclasses.dataclass(frozen=True, slots=True)
class _Request:
    """A CSR of the right shape, in its parts."""

    parsed: x509.CertificateSigningRequest
    subject: list[list[_Part]]
    public_key: bytes


def match(csr: bytes, template: models.CsrTemplate) -> MatchedCsr:
    """Compare an instance's CSR with what was injected.

    :param csr: DER PKCS#10 (RFC 2986)
    :param template: what the instance was told to put into it
    :returns: the key, and nothing else of it
    :raises CsrMalformed: too large, or not DER
    :raises CsrKeyRefused: a key that is not among those offered
    :raises CsrSignatureInvalid: not signed by that key
    :raises CsrMismatch: with the first of :data:`FIELDS` that differs
    """
    request = _load(csr)
    matched = _match_key(request, template.keys)
    _match_subject(request.subject, template.subject)
    extensions = _get_extensions(request)
    _match_names(_find_names(extensions), template)
    _match_usages(extensions, matched.key_type, template.eku)
    return matched


def match_service(csr: bytes, names: Collection[str]) -> ServiceRequest:
    """Look at a check-in process's CSR for its own certificate.

    :param csr: DER PKCS#10
    :param names: the DNS names and IP addresses that it may ask for; it may
        leave some out. Its subject is empty or has one of them as its only
        common name.
    :raises CsrError: as :func:`match` does
    """
    request = _load(csr)
    matched = _match_key(request, profiles.KEY_TYPES)
    extensions = _get_extensions(request)
    san = _find_names(extensions)
    if san is None:
        _refuse('san_missing')
    addresses, dns = split_names(names)
    asked = models.CsrTemplate(
        subject=(),
        dns=tuple(sorted(_select(san, x509.DNSName, dns))),
        ip=tuple(sorted(_select(san, x509.IPAddress, addresses))),
        uri=(),
        eku=('serverAuth',),
    )
    _match_names(san, asked)
    _match_usages(extensions, matched.key_type, asked.eku)
    if not asked.dns and not asked.ip:
        _refuse('san_missing')
    _match_service_subject(request.subject, asked.dns + asked.ip)
    return ServiceRequest(matched, asked.dns, asked.ip)


def _match_service_subject(
    rdns: list[list[_Part]], names: Collection[str]
) -> None:
    for parts in rdns:
        text = parts[0].text.decode(errors='replace') if parts else ''
        if text not in names:
            _refuse('cn', text)
        _match_subject(rdns, (('CN', text),))


@functools.lru_cache(maxsize=16)
def make_usages(names: tuple[str, ...]) -> x509.ExtendedKeyUsage:
    """Return the extension of a request, and of its certificate.

    :param names: extended key usages by OpenSSL's names
    :raises KeyError: with a name that is not known
    """
    return x509.ExtendedKeyUsage(profiles.get_extended_key_usages(names))


def split_names(
    names: Collection[str],
) -> tuple[frozenset[str], frozenset[str]]:
    """Return (IP addresses, DNS names) of a mixture of both.

    :param names: IPv6 addresses may stand in brackets and have a zone
    :returns: both canonical: addresses as the ipaddress module writes them,
        names in lower case without a final dot
    """
    addresses, dns = set(), set()
    for name in names:
        address = _find_address(name)
        if address is None:
            dns.add(name.lower().rstrip('.'))
        else:
            addresses.add(str(address))
    return frozenset(addresses), frozenset(dns)


def _load(csr: bytes) -> _Request:
    if len(csr) > MAX_SIZE:
        raise exceptions.CsrMalformed(
            'The certificate signing request has %d bytes; at most %d are '
            'accepted.' % (len(csr), MAX_SIZE)
        )
    with _decoding('The certificate signing request is not valid DER'):
        outer = der.read(csr)
        parts = list(der.split(outer.content))
        inner = list(der.split(parts[0].content)) if parts else []
        shape = [part.tag for part in inner[:3]]
        if shape != [der.INTEGER, der.SEQUENCE, der.SEQUENCE]:
            raise ValueError('it is not a PKCS#10 request')
        if parts[-1].tag != der.BIT_STRING or parts[-1].content[:1] != b'\0':
            raise ValueError('it has a signature that is cut off')
        if inner[0].content != b'\0':
            _refuse('version')
        subject = _read_subject(inner[1].content)
        _match_attributes(inner[3:])
        parsed = x509.load_der_x509_csr(csr)
    return _Request(parsed, subject, inner[2].encoding)


def _match_attributes(parts: list[der.Element]) -> None:
    """Let extensionRequest and challengePassword pass, once each.

    :param parts: what follows the public key; [0] IMPLICIT SET OF Attribute
    """
    seen = set()
    for part in parts:
        for attribute in der.split(part.content):
            name, *values = der.split(attribute.content)
            if name.content in seen:
                _refuse('attribute_duplicate')
            seen.add(name.content)
            if name.content not in (_EXTENSION_REQUEST, _CHALLENGE_PASSWORD):
                _refuse('attribute')
            if [len(list(der.split(v.content))) for v in values] != [1]:
                _refuse('attribute_duplicate')


def _match_key(request: _Request, offered: Collection[str]) -> MatchedCsr:
    """Check type and proof of possession, in this order.

    A signature is verified only with a key of a kind that we offered: what
    it costs is known.
    """
    try:
        key = request.parsed.public_key()
        key_type = profiles.find_key_type(key)
        public_key = key.public_bytes(
            serialization.Encoding.DER,
            serialization.PublicFormat.SubjectPublicKeyInfo,
        )
    except _DECODING_ERRORS as error:
        raise exceptions.CsrKeyRefused(
            'The public key cannot be read, or is of a kind that is not '
            'accepted.'
        ) from error
    if key_type is None or key_type.name not in offered:
        raise exceptions.CsrKeyRefused(
            'The type or size of the public key is not accepted; make one of '
            'these: %s.' % ', '.join(offered)
        )
    # One key has one digest: no second spelling of it is let in.
    if public_key != request.public_key:
        raise exceptions.CsrKeyRefused(
            'The public key is not in its usual form (a named curve, an '
            'uncompressed point).'
        )
    _check_signature(request.parsed)
    return MatchedCsr(
        public_key=public_key,
        public_key_sha256=hashlib.sha256(public_key).digest(),
        key_type=key_type.name,
    )


def _check_signature(parsed: x509.CertificateSigningRequest) -> None:
    if parsed.signature_algorithm_oid not in _SIGNATURE_ALGORITHMS:
        raise exceptions.CsrSignatureInvalid(
            'The signature algorithm is not accepted; sign with SHA-256, '
            'SHA-384 or SHA-512.'
        )
    try:
        is_valid = parsed.is_signature_valid
    except _DECODING_ERRORS as error:
        raise exceptions.CsrSignatureInvalid() from error
    if not is_valid:
        raise exceptions.CsrSignatureInvalid()


def _read_subject(subject: bytes) -> list[list[_Part]]:
    """Return the attributes of each RDN.

    :raises ValueError: it is not a Name
    :raises CsrMismatch: a PrintableString holds what it cannot hold
    """
    rdns = []
    for rdn in der.split(subject):
        parts = []
        for pair in der.split(rdn.content):
            name, value = der.split(pair.content)
            is_printable = value.tag == der.PRINTABLE_STRING
            if is_printable and not _PRINTABLE.fullmatch(value.content):
                _refuse('subject_encoding')
            is_text = is_printable or value.tag == der.UTF8_STRING
            parts.append(_Part(name.content, value.content, is_text))
        rdns.append(parts)
    return rdns


def _match_subject(
    rdns: list[list[_Part]], expected: tuple[tuple[str, str], ...]
) -> None:
    """Compare a subject with the template's, part by part and in order."""
    if any(len(parts) != 1 for parts in rdns):
        _refuse('subject_multivalued')
    found = [part for parts in rdns for part in parts]
    wanted = [
        _Part(_ATTRIBUTE_TYPES[name], text.encode()) for name, text in expected
    ]
    if found == wanted:
        return
    if _count_common_names(found) > _count_common_names(wanted) > 0:
        _refuse('cn_count')
    if len(found) > len(wanted):
        _refuse('subject_count')
    if len(found) < len(wanted):
        _refuse('subject_missing')
    for part, wanted_part in zip(found, wanted, strict=True):
        if part.type != wanted_part.type:
            _refuse('subject_attribute')
        if not part.is_text:
            _refuse('subject_encoding')
        if part != wanted_part:
            _refuse_text(part, wanted_part.text.decode())


def _count_common_names(parts: list[_Part]) -> int:
    return sum(part.type == _COMMON_NAME for part in parts)


def _refuse_text(part: _Part, wanted: str) -> NoReturn:
    try:
        text = part.text.decode()
    except UnicodeDecodeError:
        _refuse('subject_encoding')
    if part.type != _COMMON_NAME:
        _refuse('subject', text)
    flaw = _find_flaw(text, (wanted,))
    _refuse('cn_%s' % flaw if flaw else 'cn', text)


def _get_extensions(request: _Request) -> x509.Extensions:
    """Decode the extensions; refuse those that cannot be asked for.

    :raises CsrError: they cannot be decoded, or are not ours
    """
    with _decoding('The extensions cannot be decoded'):
        try:
            extensions = request.parsed.extensions
        except x509.DuplicateExtension:
            _refuse('extension_duplicate')
        except x509.UnsupportedGeneralNameType:
            _refuse('san_type')
    for extension in extensions:
        if isinstance(extension.value, _ASKED_FOR):
            continue
        if isinstance(extension.value, x509.BasicConstraints):
            _refuse('basic_constraints')
        name = extension.oid.dotted_string
        _refuse(
            'extension_critical' if extension.critical else 'extension', name
        )
    return extensions


def _find_names(
    extensions: x509.Extensions,
) -> x509.SubjectAlternativeName | None:
    for extension in extensions:
        if isinstance(extension.value, x509.SubjectAlternativeName):
            return extension.value
    return None


def _match_names(
    names: x509.SubjectAlternativeName | None, template: models.CsrTemplate
) -> None:
    """Compare the subject alternative names with the template's, as sets."""
    if names is None:
        if template.dns or template.ip or template.uri:
            _refuse('san_missing')
        return
    found: dict[str, list[str]] = {'dns': [], 'ip': [], 'uri': []}
    for name in names:
        if isinstance(name, x509.DNSName):
            found['dns'].append(name.value)
        elif isinstance(name, x509.IPAddress):
            found['ip'].append(str(name.value))
        elif isinstance(name, x509.UniformResourceIdentifier):
            found['uri'].append(name.value)
        else:
            for kind, field in _FORBIDDEN_NAMES:
                if isinstance(name, kind):
                    _refuse(field)
            _refuse('san_type')
    addresses = [str(ipaddress.ip_address(text)) for text in template.ip]
    _compare(found['dns'], template.dns, 'dns', _find_dns_flaw)
    _compare(found['ip'], addresses, 'ip')
    _compare(found['uri'], template.uri, 'uri')


def _compare(
    found: Collection[str],
    wanted: Collection[str],
    kind: str,
    find_flaw: Callable[[str, Collection[str]], str | None] | None = None,
) -> None:
    for text in found:
        if text not in wanted:
            flaw = find_flaw(text, wanted) if find_flaw else None
            _refuse('%s_%s' % (kind, flaw or 'extra'), text)
    if len(set(found)) != len(found):
        _refuse('san_duplicate')
    for text in wanted:
        if text not in found:
            _refuse('%s_missing' % kind, text)


def _find_dns_flaw(text: str, wanted: Collection[str]) -> str | None:
    if _find_address(text) is not None:
        return 'is_ip'
    flaw = _find_flaw(text, wanted)
    if flaw is None and 'xn--' in text.lower():
        return 'idn'
    return flaw


def _find_flaw(text: str, wanted: Collection[str]) -> str | None:
    """Name what makes a text differ, where it is one of the usual things."""
    if _CONTROL.search(text):
        return 'nul'
    if not text.isascii():
        return 'not_ascii'
    if '*' in text:
        return 'wildcard'
    if text.endswith('.'):
        return 'trailing_dot'
    if text.lower() in {name.lower() for name in wanted}:
        return 'case'
    return None


def _match_usages(
    extensions: x509.Extensions, key_type: str, eku: Collection[str]
) -> None:
    """Compare key usages, where they are asked for, with those given."""
    for extension in extensions:
        value = extension.value
        if isinstance(value, x509.KeyUsage):
            if value != profiles.KEY_TYPES[key_type].key_usage:
                _refuse('key_usage')
        elif isinstance(value, x509.ExtendedKeyUsage):
            found = list(value)
            wanted = profiles.get_extended_key_usages(eku)
            if len(found) != len(wanted) or set(found) != set(wanted):
                _refuse('eku')


def _select(
    names: x509.SubjectAlternativeName,
    kind: type[x509.DNSName | x509.IPAddress],
    allowed: Collection[str],
) -> list[str]:
    found = {str(name.value) for name in names if isinstance(name, kind)}
    return [name for name in allowed if name in found]


def _find_address(
    text: str,
) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    text = text.removeprefix('[').removesuffix(']')
    try:
        # The zone of a link-local address is known to one host only.
        return ipaddress.ip_address(text.partition('%')[0])
    except ValueError:
        return None


def _refuse(field: str, text: str | None = None) -> NoReturn:
    """Refuse a request.

    :param field: one of :data:`FIELDS`
    :param text: what the request says; shown so that it cannot break a line
        or a terminal
    :raises CsrMismatch: always
    """
    message = FIELDS[field]
    if text is not None:
        message = '%s It says %s.' % (message, ascii(text[:80]))
    raise exceptions.CsrMismatch(field, message)


@contextlib.contextmanager
def _decoding(message: str) -> Iterator[None]:
    """Turn what decoders raise into our own error.

    :param message: what could not be decoded
    :raises CsrMalformed: with the message and, where the words are ours,
        the reason
    """
    try:
        yield
    except exceptions.CsrError:
        raise
    except _DECODING_ERRORS as error:
        reason = ''
        if type(error) is ValueError and str(error).startswith('it '):
            reason = ': %s' % error
        raise exceptions.CsrMalformed('%s%s.' % (message, reason)) from error
