# rewrite.tcl - what the tests of rewrites share: stores with everything in them, and what must be
# the same afterwards.

# All that a store says of its entries, by every way of reading; sorted by key.  A key that one way
# finds and another does not is an error.
proc picture {store} {
  set all {}
  foreach entry [entries [$store cursor]] {
    set key [dict get $entry key]
    if {[dict exists $all $key]} {error "a scan shows $key twice"}
    if {[$store get_entry $key] ne $entry} {error "get_entry and a scan differ: $key"}
    dict set all $key $entry
  }
  set keys [dict keys $all]
  foreach key $keys found [$store get_many $keys] {
    set value [dict get $all $key value]
    if {$found ne [list $value] || [$store get $key] ne $value} {
      error "get, get_many and a scan differ: $key"
    }
  }
  lsort -stride 2 -index 0 $all
}
proc values_of {picture} {
  concat {*}[lmap {key entry} $picture {list $key [dict get $entry value]}]
}

# One of everything that a record can be.
proc put_of_all_kinds {store} {
  set later [expr {[clock milliseconds]+3600000}]
  foreach type {blob text json integer real null} {
    foreach key_type {bytes text blob} {
      set value [dict get {blob "\x00\xff bytes" text words json {{"a":1}} integer -42 real 2.5\
          null {}} $type]
      $store put_if kind-$type-$key_type $value -type $type -key_type $key_type
      $store put_if dated-$type-$key_type $value -type $type -key_type $key_type -expires $later \
          -media_type x/$type
      $store put_if media-$type-$key_type $value -type $type -key_type $key_type -media_type \
          [string repeat m 255]
    }
  }
  $store put empty {}
  $store put [string repeat K 65535] {the longest key}
  $store put "\x00" {a zero}
}
