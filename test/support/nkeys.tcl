# nkeys.tcl - keys and tokens of NATS, made with openssl: NKeys (Ed25519) and the JWTs that an
# operator, an account and a user are told by.
#
#   nkey_new KIND             KIND operator, account or user: {PUBLIC SEED FILE}; FILE is its
#                             private key in PEM
#   nkey_jwt KEY SUBJECT NAME CLAIMS
#                             a JWT about the public key SUBJECT, signed by KEY; CLAIMS is what
#                             stands in "nats", in JSON
#   nkey_creds JWT SEED       the text of a credentials file

array set nkey_prefix {operator 112 account 0 user 160}
set nkey_serial 0

# The bytes in RFC 4648's alphabet, without padding.
proc nkey_base32 {bytes} {
  binary scan $bytes B* bits
  append bits [string repeat 0 [expr {-[string length $bits]%5}]]
  set letters ABCDEFGHIJKLMNOPQRSTUVWXYZ234567
  set text {}
  for {set i 0} {$i<[string length $bits]} {incr i 5} {
    append text [string index $letters [scan [string range $bits $i $i+4] %b]]
  }
  return $text
}
proc nkey_base64url {bytes} {string map {+ - / _ = {}} [binary encode base64 $bytes]}
proc nkey_checked {bytes} {
  set crc 0
  foreach byte [split $bytes {}] {
    scan $byte %c value
    set crc [expr {$crc^($value<<8)}]
    for {set i 0} {$i<8} {incr i} {
      set crc [expr {($crc<<1^($crc&0x8000 ? 0x1021 : 0))&0xffff}]
    }
  }
  nkey_base32 $bytes[binary format su $crc]
}
proc nkey_bytes {args} {
  set file $::dir/nkey.raw
  exec openssl {*}$args -outform DER -out $file 2>@1
  set f [open $file rb]
  set bytes [read $f]
  close $f
  file delete $file
  string range $bytes end-31 end
}
proc nkey_new {kind} {
  set file $::dir/nkey-[incr ::nkey_serial].pem
  exec openssl genpkey -algorithm ed25519 -out $file 2>@1
  set prefix $::nkey_prefix($kind)
  set seed [binary format cc [expr {144|$prefix>>5}] [expr {($prefix&31)<<3}]]
  append seed [nkey_bytes pkey -in $file]
  list [nkey_checked [binary format c $prefix][nkey_bytes pkey -in $file -pubout]] \
      [nkey_checked $seed] $file
}
proc nkey_jwt {key subject name claims} {
  lassign $key issuer seed file
  set head [nkey_base64url {{"typ":"JWT","alg":"ed25519-nkey"}}]
  set body [nkey_base64url "{\"jti\":\"[incr ::nkey_serial]\",\"iat\":[clock seconds],\"iss\":\
\"$issuer\",\"name\":\"$name\",\"sub\":\"$subject\",\"nats\":$claims}"]
  set f [open $::dir/nkey.said wb]
  puts -nonewline $f $head.$body
  close $f
  exec openssl pkeyutl -sign -rawin -inkey $file -in $::dir/nkey.said -out $::dir/nkey.sign
  set f [open $::dir/nkey.sign rb]
  set signature [read $f]
  close $f
  return $head.$body.[nkey_base64url $signature]
}
proc nkey_creds {jwt seed} {
  return "-----BEGIN NATS USER JWT-----\n$jwt\n------END NATS USER JWT------\n
-----BEGIN USER NKEY SEED-----\n$seed\n------END USER NKEY SEED------\n"
}
