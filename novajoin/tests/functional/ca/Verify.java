/*
 * Licensed under the Apache License, Version 2.0 (the "License"); you may
 * not use this file except in compliance with the License. You may obtain
 * a copy of the License at
 *
 *     http://www.apache.org/licenses/LICENSE-2.0
 *
 * Unless required by applicable law or agreed to in writing, software
 * distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
 * WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
 * License for the specific language governing permissions and limitations
 * under the License.
 */

import java.io.FileInputStream;
import java.io.InputStream;
import java.security.cert.CertPathValidator;
import java.security.cert.CertPathValidatorException;
import java.security.cert.CertStore;
import java.security.cert.CertificateFactory;
import java.security.cert.CollectionCertStoreParameters;
import java.security.cert.PKIXParameters;
import java.security.cert.TrustAnchor;
import java.security.cert.X509Certificate;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;

/**
 * Validates paths as the JDK does:
 * {@code java Verify.java (ROOT CHAIN CRLS)...}. An empty file of CRLs means
 * that revocation is not looked at. Says "valid", or why not, in one line for
 * each.
 */
public final class Verify {
    private static void validate(String root, String chain, String crls)
            throws Exception {
        CertificateFactory factory = CertificateFactory.getInstance("X.509");
        List<X509Certificate> path = new ArrayList<>();
        try (InputStream in = new FileInputStream(chain)) {
            factory.generateCertificates(in)
                .forEach(each -> path.add((X509Certificate) each));
        }
        X509Certificate anchor;
        try (InputStream in = new FileInputStream(root)) {
            anchor = (X509Certificate) factory.generateCertificate(in);
        }
        PKIXParameters parameters =
            new PKIXParameters(Set.of(new TrustAnchor(anchor, null)));
        try (InputStream in = new FileInputStream(crls)) {
            boolean isEnabled = in.available() > 0;
            parameters.setRevocationEnabled(isEnabled);
            if (isEnabled) {
                parameters.addCertStore(CertStore.getInstance("Collection",
                    new CollectionCertStoreParameters(
                        factory.generateCRLs(in))));
            }
        }
        CertPathValidator.getInstance("PKIX")
            .validate(factory.generateCertPath(path), parameters);
    }

    public static void main(String[] arguments) throws Exception {
        for (int i = 0; i < arguments.length; i += 3) {
            try {
                validate(arguments[i], arguments[i + 1], arguments[i + 2]);
                System.out.println("valid");
            } catch (CertPathValidatorException fault) {
                System.out.println(fault.getMessage());
            }
        }
    }
}
