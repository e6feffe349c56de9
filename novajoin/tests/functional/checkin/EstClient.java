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

import java.io.InputStream;
import java.net.URL;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.Paths;
import java.security.KeyPair;
import java.security.KeyPairGenerator;
import java.security.KeyStore;
import java.security.SecureRandom;
import java.security.Security;
import java.security.cert.Certificate;
import java.security.cert.CertificateFactory;
import java.security.cert.TrustAnchor;
import java.security.cert.X509Certificate;
import java.security.spec.ECGenParameterSpec;
import java.util.ArrayList;
import java.util.Base64;
import java.util.Collections;
import java.util.List;
import java.util.Scanner;
import javax.net.ssl.HttpsURLConnection;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.X509TrustManager;

import org.bouncycastle.asn1.pkcs.PKCSObjectIdentifiers;
import org.bouncycastle.asn1.x500.X500Name;
import org.bouncycastle.asn1.x509.Extension;
import org.bouncycastle.asn1.x509.ExtensionsGenerator;
import org.bouncycastle.asn1.x509.GeneralName;
import org.bouncycastle.asn1.x509.GeneralNames;
import org.bouncycastle.asn1.x9.X9ObjectIdentifiers;
import org.bouncycastle.cert.X509CertificateHolder;
import org.bouncycastle.cert.jcajce.JcaX509CertificateConverter;
import org.bouncycastle.est.CSRAttributesResponse;
import org.bouncycastle.est.ESTAuth;
import org.bouncycastle.est.ESTException;
import org.bouncycastle.est.ESTService;
import org.bouncycastle.est.EnrollmentResponse;
import org.bouncycastle.est.jcajce.JcaHttpAuthBuilder;
import org.bouncycastle.est.jcajce.JcaJceUtils;
import org.bouncycastle.est.jcajce.JsseDefaultHostnameAuthorizer;
import org.bouncycastle.est.jcajce.JsseESTServiceBuilder;
import org.bouncycastle.jce.provider.BouncyCastleProvider;
import org.bouncycastle.operator.jcajce.JcaContentSignerBuilder;
import org.bouncycastle.pkcs.PKCS10CertificationRequest;
import org.bouncycastle.pkcs.jcajce.JcaPKCS10CertificationRequestBuilder;

/**
 * An EST client made of Bouncy Castle's: gets the CA certificates, enrolls
 * with a join token, and enrolls again with the certificate.
 *
 * Arguments: host port root.pem uuid name directory; the token comes from
 * standard input. It writes cacerts.pem, first.pem, second.pem and
 * attributes.txt to the directory, prints a line for each step and exits
 * non-zero when one fails.
 */
public final class EstClient {
    private static final int TRIES = 20;

    private final String host;
    private final int port;
    private final X509Certificate root;
    private final String instance;
    private final String name;
    private final Path directory;
    private final char[] token;

    private EstClient(String[] arguments) throws Exception {
        host = arguments[0];
        port = Integer.parseInt(arguments[1]);
        try (InputStream stream = Files.newInputStream(Paths.get(arguments[2]))) {
            root = (X509Certificate) CertificateFactory.getInstance("X.509")
                .generateCertificate(stream);
        }
        instance = arguments[3];
        name = arguments[4];
        directory = Paths.get(arguments[5]);
        token = new Scanner(System.in).nextLine().toCharArray();
    }

    public static void main(String[] arguments) throws Exception {
        Security.addProvider(new BouncyCastleProvider());
        EstClient client = new EstClient(arguments);
        client.getCaCertificates();
        client.getAttributes();
        client.tryWrongToken();
        KeyPair first = client.makeKey();
        X509CertificateHolder[] chain = client.enroll(first);
        client.reenroll(first, chain);
    }

    private X509TrustManager[] getTrust() throws Exception {
        return JcaJceUtils.getCertPathTrustManager(
            Collections.singleton(new TrustAnchor(root, null)), null);
    }

    private JsseESTServiceBuilder makeBuilder() throws Exception {
        JsseESTServiceBuilder builder =
            new JsseESTServiceBuilder(host, port, getTrust());
        builder.withHostNameAuthorizer(
            new JsseDefaultHostnameAuthorizer(Collections.<String>emptySet()));
        builder.withTimeout(20000);
        return builder;
    }

    private void getCaCertificates() throws Exception {
        X509CertificateHolder[] found = ESTService.storeToArray(
            makeBuilder().build().getCACerts().getCertificateStore());
        write("cacerts.pem", found);
        System.out.println("cacerts " + found.length);
    }

    /** Its service sends no credentials for attributes; its parser reads ours. */
    private void getAttributes() throws Exception {
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(null, getTrust(), null);
        HttpsURLConnection connection = (HttpsURLConnection) new URL(
            "https", host, port, "/.well-known/est/csrattrs").openConnection();
        connection.setSSLSocketFactory(context.getSocketFactory());
        String basic = instance + ":" + new String(token);
        connection.setRequestProperty(
            "Authorization",
            "Basic " + Base64.getEncoder().encodeToString(
                basic.getBytes(StandardCharsets.US_ASCII)));
        byte[] body = connection.getInputStream().readAllBytes();
        CSRAttributesResponse attributes =
            new CSRAttributesResponse(Base64.getMimeDecoder().decode(body));
        if (!attributes.hasRequirement(PKCSObjectIdentifiers.pkcs_9_at_extensionRequest)
            || !attributes.isAttribute(X9ObjectIdentifiers.id_ecPublicKey)) {
            throw new IllegalStateException("attributes are missing");
        }
        List<String> lines = new ArrayList<>();
        attributes.getRequirements().forEach(oid -> lines.add(oid.getId()));
        Files.write(directory.resolve("attributes.txt"), lines);
        System.out.println("csrattrs " + lines.size());
    }

    private void tryWrongToken() throws Exception {
        char[] wrong = token.clone();
        wrong[10] = wrong[10] == 'a' ? 'b' : 'a';
        ESTAuth auth = new JcaHttpAuthBuilder(instance, wrong).build();
        try {
            makeBuilder().build().simpleEnroll(false, makeRequest(makeKey()), auth);
        } catch (ESTException error) {
            if (error.getStatusCode() != 401) {
                throw error;
            }
            System.out.println("wrong token 401");
            return;
        }
        throw new IllegalStateException("a wrong token was taken");
    }

    private X509CertificateHolder[] enroll(KeyPair key) throws Exception {
        ESTService service = makeBuilder().build();
        ESTAuth auth = new JcaHttpAuthBuilder("novajoin-est", instance, token)
            .setNonceGenerator(new SecureRandom()).build();
        PKCS10CertificationRequest request = makeRequest(key);
        EnrollmentResponse response = service.simpleEnroll(false, request, auth);
        for (int count = 0; !response.isCompleted(); count++) {
            if (count == TRIES) {
                throw new IllegalStateException("still not issued");
            }
            long pause = response.getNotBefore() - System.currentTimeMillis();
            System.out.println("wait " + pause);
            Thread.sleep(Math.max(pause, 100));
            response = service.simpleEnroll(false, request, auth);
        }
        X509CertificateHolder[] found =
            ESTService.storeToArray(response.getStore());
        write("first.pem", found);
        System.out.println("simpleenroll " + found.length);
        return found;
    }

    private void reenroll(KeyPair key, X509CertificateHolder[] chain)
        throws Exception {
        JcaX509CertificateConverter converter = new JcaX509CertificateConverter();
        List<Certificate> own = new ArrayList<>();
        for (X509CertificateHolder holder : chain) {
            X509Certificate certificate = converter.getCertificate(holder);
            boolean isLeaf = certificate.getPublicKey().equals(key.getPublic());
            own.add(isLeaf ? 0 : own.size(), certificate);
        }
        KeyStore store = KeyStore.getInstance("PKCS12");
        store.load(null, null);
        store.setKeyEntry(
            "own", key.getPrivate(), new char[0], own.toArray(new Certificate[0]));
        KeyManagerFactory factory = KeyManagerFactory.getInstance(
            KeyManagerFactory.getDefaultAlgorithm());
        factory.init(store, new char[0]);
        ESTService service =
            makeBuilder().withKeyManagers(factory.getKeyManagers()).build();
        EnrollmentResponse response =
            service.simpleEnroll(true, makeRequest(makeKey()), null);
        X509CertificateHolder[] found =
            ESTService.storeToArray(response.getStore());
        write("second.pem", found);
        System.out.println("simplereenroll " + found.length);
    }

    private KeyPair makeKey() throws Exception {
        KeyPairGenerator generator = KeyPairGenerator.getInstance("EC");
        generator.initialize(new ECGenParameterSpec("secp256r1"));
        return generator.generateKeyPair();
    }

    private PKCS10CertificationRequest makeRequest(KeyPair key) throws Exception {
        ExtensionsGenerator extensions = new ExtensionsGenerator();
        extensions.addExtension(
            Extension.subjectAlternativeName,
            false,
            new GeneralNames(new GeneralName[] {
                new GeneralName(GeneralName.dNSName, name),
                new GeneralName(
                    GeneralName.uniformResourceIdentifier,
                    "urn:uuid:" + instance),
            }));
        return new JcaPKCS10CertificationRequestBuilder(
            new X500Name("CN=" + name), key.getPublic())
            .addAttribute(
                PKCSObjectIdentifiers.pkcs_9_at_extensionRequest,
                extensions.generate())
            .build(new JcaContentSignerBuilder("SHA256withECDSA")
                .build(key.getPrivate()));
    }

    private void write(String file, X509CertificateHolder[] certificates)
        throws Exception {
        Base64.Encoder encoder =
            Base64.getMimeEncoder(64, new byte[] {'\n'});
        StringBuilder text = new StringBuilder();
        for (X509CertificateHolder certificate : certificates) {
            text.append("-----BEGIN CERTIFICATE-----\n")
                .append(encoder.encodeToString(certificate.getEncoded()))
                .append("\n-----END CERTIFICATE-----\n");
        }
        Files.writeString(directory.resolve(file), text);
    }
}
