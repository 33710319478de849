import * as x509 from '@peculiar/x509'; // it needs reflect-metadata, which Nest has loaded
import type { webcrypto } from 'node:crypto';

/** A certificate and its key, in PEM. */
export interface Identity {
  readonly cert: Buffer;
  readonly key: Buffer;
}

/** What signs certificates for one test, and is trusted by nobody else. */
export interface Authority {
  readonly cert: Buffer;
  /** For a server on the loopback interface, and for a client, whose common name is what etcd calls its user. */
  issue(commonName: string, lifetime?: number): Promise<Identity>;
}

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
/** Some minutes back, so that no two clocks have to agree. */
const MINUTES_BACK = 10 * 60_000;

let lastSerialNumber = 0;

export async function createAuthority(): Promise<Authority> {
  const keys = await generateKeys();
  const name = 'CN=authority of a test';
  const ca = await x509.X509CertificateGenerator.createSelfSigned({
    ...common(60_000 * 60),
    name,
    keys,
    extensions: [
      new x509.BasicConstraintsExtension(true, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
    ],
  });
  return {
    cert: Buffer.from(ca.toString('pem')),
    async issue(commonName, lifetime = 60_000 * 60) {
      const own = await generateKeys();
      const cert = await x509.X509CertificateGenerator.create({
        ...common(lifetime),
        subject: `CN=${commonName}`,
        issuer: name,
        publicKey: own.publicKey,
        signingKey: keys.privateKey,
        extensions: [
          new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
          new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth, x509.ExtendedKeyUsage.clientAuth]),
          new x509.SubjectAlternativeNameExtension([
            { type: 'ip', value: '127.0.0.1' },
            { type: 'dns', value: 'localhost' },
          ]),
        ],
      });
      const key = await crypto.subtle.exportKey('pkcs8', own.privateKey);
      return {
        cert: Buffer.from(cert.toString('pem')),
        key: Buffer.from(x509.PemConverter.encode(key, 'PRIVATE KEY')),
      };
    },
  };
}

async function generateKeys(): Promise<webcrypto.CryptoKeyPair> {
  return await crypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
}

function common(lifetime: number) {
  return {
    serialNumber: String(++lastSerialNumber).padStart(2, '0'),
    notBefore: new Date(Date.now() - MINUTES_BACK),
    notAfter: new Date(Date.now() + lifetime),
    signingAlgorithm: ALGORITHM,
  };
}
