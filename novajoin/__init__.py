# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#      http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.

# oslo.service still defaults to eventlet, and whoever imports oslo.messaging
# first fixes the choice. A default hook, registered before anything else of
# ours can be imported, chooses threads for each process, test and document
# build, and cannot raise where a host process has chosen already.

import warnings

from oslo_service import backend

backend.register_backend_default_hook(lambda: backend.BackendType.THREADING)

# oslo.service requires eventlet all the same, and futurist imports what it
# finds: no reason to warn the operator at each command.
warnings.filterwarnings('ignore', message=r'\s*Eventlet is deprecated')
