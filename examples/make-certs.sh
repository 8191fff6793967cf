#!/bin/sh
# Makes a test authority and certificates in ./certs, for tls.cfg and for trying TLS between servers.
# For tests: the keys have no password. Names: localhost and 127.0.0.1, or those given as arguments.
#
#   ca.pem                 the authority (trust store of everybody)
#   server.pem             a server's certificate and key
#   client.pem, client.p12 a client's certificate and key; the password of client.p12 is "changeit"
#   ca.p12                 the authority as a trust store for Java clients, same password
set -eu
umask 077
cd "$(dirname "$0")"
mkdir -p certs
cd certs

names="DNS:localhost,IP:127.0.0.1,IP:0:0:0:0:0:0:0:1"
for name in "$@"; do
	case $name in
	*[!0-9.]*) case $name in *:*) names="$names,IP:$name" ;; *) names="$names,DNS:$name" ;; esac ;;
	*) names="$names,IP:$name" ;;
	esac
done

openssl req -x509 -newkey rsa:2048 -sha256 -nodes -days 3650 -subj "/O=Paddock test/CN=Test authority" \
	-addext "basicConstraints=critical,CA:TRUE" -addext "keyUsage=critical,keyCertSign,cRLSign" \
	-keyout ca.key -out ca.pem 2>/dev/null

issue() { # NAME COMMON-NAME
	printf 'subjectAltName=%s\nextendedKeyUsage=serverAuth,clientAuth\nbasicConstraints=CA:FALSE\n' \
		"$names" >"$1.ext"
	openssl req -newkey rsa:2048 -sha256 -nodes -subj "/O=Paddock test/CN=$2" \
		-keyout "$1.key" -out "$1.csr" 2>/dev/null
	openssl x509 -req -sha256 -days 3650 -in "$1.csr" -CA ca.pem -CAkey ca.key -CAcreateserial \
		-extfile "$1.ext" -out "$1.crt" 2>/dev/null
	cat "$1.crt" "$1.key" >"$1.pem"
	rm -f "$1.csr" "$1.ext" "$1.crt" "$1.key"
}
issue server localhost
issue client client

openssl pkcs12 -export -in client.pem -name client -passout pass:changeit -out client.p12
openssl pkcs12 -export -nokeys -in ca.pem -caname ca -jdktrust anyExtendedKeyUsage \
	-passout pass:changeit -out ca.p12 2>/dev/null ||
	keytool -importcert -noprompt -alias ca -file ca.pem -keystore ca.p12 -storetype PKCS12 \
		-storepass changeit 2>/dev/null ||
	echo "ca.p12 was not made: it wants OpenSSL 3.2 or keytool" >&2
echo "made: $(ls | tr '\n' ' ')"
