#!/bin/sh
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
# The end of the part that novajoin puts into nova's vendordata: the files are
# in the directory $parts by now. It installs the client where the cloud asked
# for it, starts the timer and enrolls. It is cloud-init that runs this, once
# for each instance and before the scripts of the user, so it never fails and
# never waits for long; what could not be done now, the timer does later.

parts=${parts:?the head of the part names the directory}

note() {
    printf 'novajoin: %s\n' "$*"
}

# is_asked: a metadata service that is not there yet gets a moment.
is_asked() {
    for pause in 2 5 10 ''; do
        sh "$parts/novajoin-guest" probe --quiet
        case $? in
        0) return 0 ;;
        4) [ -z "$pause" ] || sleep "$pause" ;;
        *) return 1 ;;
        esac
    done
    return 1
}

# place MODE FILE DIRECTORY: as a whole or not at all.
place() {
    mkdir -p "$3" 2>/dev/null &&
        cat "$parts/$2" >"$3/.$2.new" 2>/dev/null &&
        chmod "$1" "$3/.$2.new" &&
        mv -f "$3/.$2.new" "$3/$2" &&
        { restorecon "$3/$2" >/dev/null 2>&1 || :; }
}

# Not every image has a /usr that can be written.
place_client() {
    for sbin in /usr/local/sbin /opt/novajoin/sbin; do
        if place 0755 novajoin-guest "$root$sbin"; then
            client=$root$sbin/novajoin-guest
            return 0
        fi
    done
    note 'the client cannot be installed: /usr/local and /opt are read-only'
    return 1
}

place_timer() {
    if [ -d "$root/run/systemd/system" ]; then
        sed "s|/usr/local/sbin|$sbin|" "$parts/novajoin-guest.service" \
            >"$parts/unit" &&
            mv -f "$parts/unit" "$parts/novajoin-guest.service" &&
            place 0644 novajoin-guest.service "$root/etc/systemd/system" &&
            place 0644 novajoin-guest.timer "$root/etc/systemd/system" &&
            systemctl daemon-reload &&
            systemctl enable novajoin-guest.timer &&
            systemctl start --no-block novajoin-guest.timer
    elif [ -d "$root/etc/periodic/15min" ]; then
        printf '#!/bin/sh\nexec %s renew --quiet\n' "$sbin/novajoin-guest" \
            >"$parts/novajoin-guest-renew"
        place 0755 novajoin-guest-renew "$root/etc/periodic/15min"
    elif [ -d "$root/etc/cron.d" ]; then
        printf '*/20 * * * * root %s renew --quiet\n' "$sbin/novajoin-guest" \
            >"$parts/novajoin-guest-renew"
        place 0644 novajoin-guest-renew "$root/etc/cron.d"
    else
        false
    fi || note 'no timer renews the certificate: neither systemd nor cron' \
        'could be set up'
}

# NOVAJOIN_ROOT: for images that are prepared below a directory, and tests.
root=${NOVAJOIN_ROOT-}
if is_asked && place_client; then
    place_timer
    sh "$client" enroll --timeout 60 \
        --state-dir "$root/var/lib/novajoin-guest" ||
        note "not enrolled yet (exit code $?); the timer tries again"
fi
