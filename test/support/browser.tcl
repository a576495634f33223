# browser.tcl - headless Chromium, driven through its debugging pipe: messages of JSON that end with
# a zero byte.
#
#   browser_start                       one page, 1200 by 900, light
#   browser_open PATH                   go to that path of the server, from nothing
#   jsEXPRESSION  its value as text (promises are awaited); fails when it throws
#   js_wait EXPRESSION                  until it is true; fails after 30 s with what the page shows
#   page_says TEXT ?SELECTOR?           wait until it does
#   page_text SELECTOR                  what the first match shows
#   browser_press NAME                  click the button or link that is named so
#   browser_fill SELECTOR TEXT          replace what the field holds
#   browser_click SELECTOR              a real click in the middle of the first match that is seen
#   browser_type TEXT                   into what has the focus
#   browser_key KEY ?ctrl?              Tab Enter Escape ArrowDown / s ...: down and up
#   browser_size WIDTH HEIGHT           in CSS pixels
#   browser_scheme light|dark
#   browser_file SELECTOR FILE          choose a file
#   downloaded FOLDER PATTERN           the bytes of what was saved there
#   browser_shot FILE                   a PNG of what is seen
#   browser_asked ?ACCEPT?  what alert, confirm and the like have asked since; whether they are
#   answered with yes
#   browser_names                       {role name ...} of everything a screen reader meets
#   browser_said                        errors of the console and of the policy since the last call
#
# Chromium ends with its end of the pipe.  JSON is read and written by SQLite.

package require sqlite3

proc browser_start {} {
  set binary [auto_execok chromium]
  set profile $::dir/profile
  # Inside the shell 3 and 4 are the pipe; what chromium prints is kept for a failure.
  set run "exec \"\$@\" 3<&0 4>&1 </dev/null >$::dir/chromium.log 2>&1"
  set ::browser(pipe) \
      [open "|[list env HOME=$::dir sh -c $run sh {*}$binary --headless=new\
      --remote-debugging-pipe --user-data-dir=$profile\
    --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run\
    --disable-background-networking --disable-component-update\
    --disable-sync --disable-quic --hide-scrollbars --force-color-profile=srgb --lang=en\
    about:blank]" r+]
  set f [open $::dir/browser.pid w]
  puts $f [pid $::browser(pipe)]
  close $f
  fconfigure $::browser(pipe) -translation binary -buffering none -blocking 1
  array set ::browser {id 0 session {} said {} rest {} asked {} accept true}
  sqlite3 ::browser_json :memory:
  set targets [browser_call Target.getTargets]
  set target [json_get $targets {$.targetInfos[0].targetId}]
  set ::browser(session) [json_get [browser_call Target.attachToTarget targetId \
      [json_text $target] flatten true] {$.sessionId}]
  foreach domain {Page Runtime Log DOM} {browser_call $domain.enable}
  browser_size 1200 900
  browser_scheme light
}
proc browser_stop {} {
  catch {browser_call Browser.close}
  catch {close $::browser(pipe)}
  file delete $::dir/browser.pid
  browser_json close
}

proc json_text {text} {browser_json onecolumn {SELECT json_quote(CAST($text AS TEXT))}}
proc json_get {json path} {browser_json onecolumn {SELECT json_extract($json, $path)}}

proc browser_message {} {
  while {[set end [string first \0 $::browser(rest)]]<0} {
    set more [read_some $::browser(pipe)]
    if {$more eq {}} {error "chromium ended: [exec tail -n 5 $::dir/chromium.log]"}
    append ::browser(rest) $more
  }
  set message [encoding convertfrom utf-8 [string range $::browser(rest) 0 $end-1]]
  set ::browser(rest) [string range $::browser(rest) $end+1 end]
  return $message
}
# What is there, at least a byte; nothing at the end.  A browser that is silent for a minute is
# stuck.
proc read_some {channel} {
  fconfigure $channel -blocking 0
  while {[set bytes [read $channel]] eq {} && ![eof $channel]} {
    set ::browser(news) {}
    set timer [after 60000 {set ::browser(news) silence}]
    fileevent $channel readable {set ::browser(news) bytes}
    vwait ::browser(news)
    fileevent $channel readable {}
    after cancel $timer
    if {$::browser(news) eq "silence"} {error "chromium has been silent for a minute"}
  }
  fconfigure $channel -blocking 1
  return $bytes
}

proc browser_send {method args} {
  set id [incr ::browser(id)]
  set members {}
  foreach {name value} $args {lappend members "\"$name\":$value"}
  set session [expr {$::browser(session) eq {} ? {} : ",\"sessionId\":\"$::browser(session)\""}]
  set message "{\"id\":$id,\"method\":\"$method\",\"params\":{[join $members ,]}$session}"
  puts -nonewline $::browser(pipe) "[encoding convertto utf-8 $message]\0"
  flush $::browser(pipe)
  return $id
}
# Call METHOD with NAME JSON ... and return the result's JSON.  Events that come meanwhile are
# looked at for complaints.
proc browser_call {method args} {
  set id [browser_send $method {*}$args]
  while 1 {
    set message [browser_message]
    if {[json_get $message {$.id}] eq $id} break
    switch [json_get $message {$.method}] {
      Log.entryAdded            {lappend ::browser(said)\
          "[json_get $message {$.params.entry.source}]: [json_get $message {$.params.entry.text}]"}
      Runtime.exceptionThrown   {lappend ::browser(said) "exception:\
          [json_get $message {$.params.exceptionDetails.exception.description}]"}
      Page.javascriptDialogOpening {
        lappend ::browser(asked) [json_get $message {$.params.message}]
        browser_send Page.handleJavaScriptDialog accept $::browser(accept)
      }
    }
  }
  if {[set trouble [json_get $message {$.error.message}]] ne {}} {error "$method: $trouble"}
  json_get $message {$.result}
}
proc browser_said {} {
  js 1
  set said $::browser(said)
  set ::browser(said) {}
  return $said
}

proc browser_asked {{accept true}} {
  set asked $::browser(asked)
  array set ::browser [list asked {} accept $accept]
  return $asked
}

proc browser_open {path} {
  browser_call Page.navigate url [json_text about:blank]
  js_wait {document.URL === 'about:blank'}
  browser_call Page.navigate url [json_text http://127.0.0.1:$::server(port)$path]
  js_wait {document.URL !== 'about:blank' && document.readyState === 'complete'}
}

# The text is somewhere in the page, or in what MATCHES the selector.
proc page_says {text {selector body}} {
  js_wait "\[...document.querySelectorAll([json_text $selector])].some(n =>\
      n.innerText.includes([json_text $text]))"
}
proc page_text {selector} {
  js "document.querySelector([json_text $selector])?.innerText ?? '(nothing)'"
}
# Move the focus to the first match that is seen, and write there.
proc browser_fill {selector text} {
  js_wait "(() => { const n = \[...document.querySelectorAll([json_text $selector])].find(n =>\
      n.getClientRects().length); if (n) { n.focus(); n.select?.(); } return Boolean(n); })()"
  browser_type $text
}
# Click the button, link or tab of that name.
proc browser_press {name} {
  set n [js_wait "(() => {
    document.querySelectorAll('\[data-pressed]').forEach(n => n.removeAttribute('data-pressed'));
    const all = \[...document.querySelectorAll('button, a, summary')].filter(n => \
        n.getClientRects().length && !n.disabled);
    const node = all.findLast(n => n.textContent.trim() === [json_text $name]);
    node?.setAttribute('data-pressed', '');
    return Boolean(node);
  })()"]
  browser_click {[data-pressed]}
}

proc js {expression} {
  set answer [browser_call Runtime.evaluate expression [json_text $expression] awaitPromise true \
      returnByValue true]
  set trouble [json_get $answer {$.exceptionDetails.exception.description}]
  if {$trouble ne {}} {error "$expression: $trouble"}
  set value [json_get $answer {$.result.value}]
  # SQLite says 1 and 0 for true and false, as Tcl does.
  return $value
}
# Asked again as long as a navigation takes the page away under it.
proc js_wait {expression} {
  set deadline [expr {[clock milliseconds]+120000}]
  while {[catch {js $expression} value] || $value in {0 {}}} {
    if {[clock milliseconds]>$deadline} {
      error "still not: $expression ($value)\npage: [catch {js {document.body.innerText}} text;\
          set text]"
    }
    after 20
  }
  return $value
}

# Where to click: the middle of the first match that has a size, scrolled into view.
proc browser_click {selector} {
  set place [js_wait "(() => {
    const node = \[...document.querySelectorAll([json_text $selector])].find(n => \
        n.getClientRects().length);
    if (!node || node.disabled) return '';
    node.scrollIntoView({block: 'center', behavior: 'instant'});
    const r = node.getClientRects()\[0];
    return `\${r.x + r.width / 2} \${r.y + r.height / 2}`;
  })()"]
  lassign $place x y
  foreach type {mousePressed mouseReleased} {
    browser_call Input.dispatchMouseEvent type [json_text $type] x $x y $y button {"left"} \
        clickCount 1
  }
}
proc browser_type {text} {browser_call Input.insertText text [json_text $text]}
proc browser_key {key {modifier {}}} {
  set codes {Tab 9 Enter 13 Escape 27 End 35 Home 36 ArrowUp 38 ArrowDown 40 Backspace 8}
  set code [expr {[dict exists $codes $key] ? [dict get $codes $key] : [scan [string toupper $key] \
      %c]}]
  set text {}
  if {$modifier eq {} && [string length $key]==1} {set text $key}
  if {$key eq "Enter"} {set text \r}
  foreach type {keyDown keyUp} {
    browser_call Input.dispatchKeyEvent type [json_text $type] key [json_text $key] \
        windowsVirtualKeyCode $code \
      modifiers [expr {$modifier eq "ctrl" ? 2 : 0}] text \
      [json_text [expr {$type eq "keyDown" ? $text : ""}]]
  }
}

proc browser_size {width height} {
  browser_call Emulation.setDeviceMetricsOverride width $width height $height deviceScaleFactor 1 \
      mobile false
}
proc browser_scheme {scheme} {
  browser_call Emulation.setEmulatedMedia features \
      "\[{\"name\":\"prefers-color-scheme\",\"value\":\"$scheme\"}]"
}
proc browser_file {selector file} {
  set root [json_get [browser_call DOM.getDocument] {$.root.nodeId}]
  set node [json_get [browser_call DOM.querySelector nodeId $root selector [json_text $selector]] \
      {$.nodeId}]
  browser_call DOM.setFileInputFiles nodeId $node files "\[[json_text $file]]"
}
# The bytes of the one file of that name, once the browser has written it.
proc downloaded {folder pattern} {
  set deadline [expr {[clock milliseconds]+120000}]
  # The name may be there before the bytes.
  while {[llength [set files [glob -nocomplain -directory $folder $pattern]]]!=1 \
      || [file size [lindex $files 0]]==0
         || [llength [glob -nocomplain -directory $folder *.crdownload]]} {
    if {[clock milliseconds]>$deadline} {
      error "not downloaded: [glob -nocomplain -directory $folder *]"
    }
    after 20
  }
  set f [open [lindex $files 0] rb]
  set bytes [read $f]
  close $f
  return $bytes
}
proc browser_shot {file} {
  set png [json_get [browser_call Page.captureScreenshot] {$.data}]
  set f [open $file wb]
  puts -nonewline $f [binary decode base64 $png]
  close $f
}
proc browser_names {} {
  set tree [browser_call Accessibility.getFullAXTree]
  browser_json eval {
    SELECT json_extract(value, '$.role.value') AS role, coalesce(json_extract(value, \
        '$.name.value'), '')
    FROM json_each($tree, '$.nodes') WHERE NOT coalesce(json_extract(value, '$.ignored'), 0) AND \
        role NOT IN ('StaticText', 'InlineTextBox', 'generic', 'none')
  }
}
