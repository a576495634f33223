# browser.tcl - headless Chromium, driven through its debugging pipe: messages of JSON that end with
# a zero byte.
#
# Each of these that acts or looks begins when the page is at rest: it has every answer that it
# asked for and has gone where its address says.  So what is seen after a press is what the press
# led to, not the page before.  Timers and feeds are no unrest: what they bring is waited for by
# name.
#
#   browser_start                       one page, 1200 by 900, light
#   browser_open PATH                   go to that path of the server, from nothing
#   js EXPRESSION                       its value as text (promises are awaited); fails when it
#                                       throws
#   js_wait EXPRESSION                  until it is true; fails after 120 s with what the page shows
#   page_says TEXT ?SELECTOR?           wait until it does
#   page_said TEXT                      wait until a notice, which goes by itself, has said it since
#                                       the last click, key or other act
#   page_text SELECTOR                  what the first match shows
#   browser_press NAME                  click the button or link that is named so
#   browser_fill SELECTOR TEXT          replace what the field holds
#   browser_click SELECTOR              a real click in the middle of the first match that is seen;
#                                       again, should another element have moved there meanwhile
#   browser_type TEXT                   into what has the focus
#   browser_key KEY ?ctrl?              Tab Enter Escape ArrowDown / s ...: down and up
#   browser_size WIDTH HEIGHT           in CSS pixels
#   browser_scheme light|dark
#   browser_file SELECTOR FILE          choose a file
#   downloaded FOLDER PATTERN           the bytes of what was saved there
#   browser_shot FILE                   a PNG of what is seen
#   browser_asked ?ACCEPT?              what alert, confirm and the like have asked since; whether
#                                       they are answered with yes
#   browser_names                       {role name ...} of everything a screen reader meets
#   browser_said                        errors of the console and of the policy since the last call
#
# Chromium ends with its end of the pipe.  JSON is read and written by SQLite.

package require sqlite3

# What every document runs before its own scripts.
set browser_watch {(() => {
  let awaited = 0, hash = location.hash, leaving = false;
  const wait = promise => {
    const ended = () => { awaited--; };
    awaited++;
    promise.then(ended, ended);
    return promise;
  };
  const plainFetch = window.fetch;
  window.fetch = (...args) => wait(plainFetch(...args));
  for (const name of ['arrayBuffer', 'blob', 'json', 'text']) {
    const read = Response.prototype[name];
    Response.prototype[name] = function () { return wait(read.call(this)); };
  }
  const send = XMLHttpRequest.prototype.send;
  XMLHttpRequest.prototype.send = function (body) {
    awaited++;
    this.addEventListener('loadend', () => { awaited--; });
    send.call(this, body);
  };

  // A link sets the address, and the page hears of it, some time after the click.
  const replaceState = history.replaceState;
  history.replaceState = (...args) => {
    replaceState.apply(history, args);
    hash = location.hash;
  };
  window.addEventListener('hashchange', () => { hash = location.hash; leaving = false; });
  window.addEventListener('click', event => {
    const a = event.defaultPrevented ? null : event.target.closest('a[href]');
    if (a?.hash && a.hash !== location.hash) leaving = true;
  });

  const heard = [];
  new MutationObserver(changes => {
    for (const change of changes)
      if (change.target.id === 'said') heard.push(...[...change.addedNodes].map(n =>\
          n.textContent));
  }).observe(document, {childList: true, subtree: true});

  // A click that would reach another element than it was aimed at reaches none.
  let aimed = null, astray = false;
  for (const type of ['mousedown', 'mouseup', 'click'])
    window.addEventListener(type, event => {
      if (!aimed || !event.isTrusted) return;
      if (!aimed.contains(event.target)) astray = true;
      if (astray) {
        event.preventDefault();
        event.stopImmediatePropagation();
      } else if (type === 'click') aimed = null;
    }, true);

  window.browserTest = {
    unrest: () => [
      awaited && `${awaited} answers awaited`,
      (leaving || location.hash !== hash) && `on the way to ${location.hash}`,
      document.querySelector('dialog:not([open])') && 'a dialog closes',
    ].filter(Boolean).join(', '),
    act: () => { heard.length = 0; },
    heard: text => heard.some(one => one.includes(text)),
    aim: node => {
      if (!node || node.disabled) return '';
      node.scrollIntoView({block: 'center', behavior: 'instant'});
      const r = node.getClientRects()[0];
      [aimed, astray] = [node, false];
      return `${r.x + r.width / 2} ${r.y + r.height / 2}`;
    },
    met: () => {
      const met = aimed === null;
      aimed = null;
      return met;
    },
  };
})()}

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
  until {[set target [browser_first_page]] ne {}}
  set ::browser(session) [json_get [browser_call Target.attachToTarget targetId \
      [json_text $target] flatten true] {$.sessionId}]
  foreach domain {Page Runtime Log DOM} {browser_call $domain.enable}
  browser_call Page.addScriptToEvaluateOnNewDocument source [json_text $::browser_watch]
  # A page that has just been made may have nothing yet that has a size.
  until {![set failed [catch {browser_size 1200 900} trouble]]
      || ![string match *setDeviceMetrics* $trouble]}
  if {$failed} {error $trouble}
  browser_scheme light
}
# Chromium has targets that are no pages, too, and the page comes some time after its start.
proc browser_first_page {} {
  set targets [browser_call Target.getTargets]
  browser_json onecolumn {
    SELECT value->>'$.targetId' FROM json_each($targets, '$.targetInfos')
      WHERE value->>'$.type' = 'page' LIMIT 1
  }
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
# What is there, at least a byte; nothing at the end.  A browser that is silent for two
# minutes is stuck.
proc read_some {channel} {
  fconfigure $channel -blocking 0
  while {[set bytes [read $channel]] eq {} && ![eof $channel]} {
    set ::browser(news) {}
    set timer [after 120000 {set ::browser(news) silence}]
    fileevent $channel readable {set ::browser(news) bytes}
    vwait ::browser(news)
    fileevent $channel readable {}
    after cancel $timer
    if {$::browser(news) eq "silence"} {error "chromium has been silent for two minutes"}
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
proc page_said {text} {js_wait "browserTest.heard([json_text $text])"}
# Move the focus to the first match that is seen, and write there.
proc browser_fill {selector text} {
  js_wait "(n => { n?.focus(); n?.select?.(); return Boolean(n); })([seen_js $selector true])"
  browser_type $text
}
# The first match that is seen and of which the condition on n is true.
proc seen_js {selector condition} {
  return "\[...document.querySelectorAll([json_text $selector])].find(n =>\
      n.getClientRects().length && $condition)"
}
# Click the button, link or tab of that name, the last of several.
proc browser_press {name} {
  click_node "\[...document.querySelectorAll('button, a, summary')].filter(n =>\
      n.getClientRects().length && !n.disabled).findLast(n =>\
      n.textContent.trim() === [json_text $name])"
}

# Until the page is at rest; a navigation may take it away meanwhile.
proc at_rest {} {
  set deadline [expr {[clock milliseconds]+120000}]
  while {[catch {js_now {window.browserTest?.unrest() ?? ''}} unrest] || $unrest ne {}} {
    if {[clock milliseconds]>$deadline} {error "the page does not come to rest: $unrest"}
    after 5
  }
}
proc about_to_act {} {
  at_rest
  js_now {window.browserTest?.act()}
}
proc js {expression} {
  at_rest
  js_now $expression
}
proc js_now {expression} {
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
      error "still not: $expression ($value)\npage: [catch {js_now {document.body.innerText}} text;\
          set text]"
    }
    after 20
  }
  return $value
}

# In the middle of the first match that has a size, scrolled into view.
proc browser_click {selector} {click_node [seen_js $selector true]}
# NODE: an expression.  Where it lies is asked before each try: the page may move it until the click
# comes.
proc click_node {node} {
  set deadline [expr {[clock milliseconds]+120000}]
  about_to_act
  while 1 {
    lassign [js_wait "browserTest.aim($node)"] x y
    foreach type {mousePressed mouseReleased} {
      browser_call Input.dispatchMouseEvent type [json_text $type] x $x y $y button {"left"} \
          clickCount 1
    }
    if {[js_now {browserTest.met()}]} return
    if {[clock milliseconds]>$deadline} {error "something lies over $node"}
    after 20
  }
}
proc browser_type {text} {
  about_to_act
  browser_call Input.insertText text [json_text $text]
}
proc browser_key {key {modifier {}}} {
  about_to_act
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
  js_wait "innerWidth === $width && innerHeight === $height"
}
proc browser_scheme {scheme} {
  browser_call Emulation.setEmulatedMedia features \
      "\[{\"name\":\"prefers-color-scheme\",\"value\":\"$scheme\"}]"
  js_wait "matchMedia('(prefers-color-scheme: $scheme)').matches"
}
proc browser_file {selector file} {
  set root [json_get [browser_call DOM.getDocument] {$.root.nodeId}]
  set node [json_get [browser_call DOM.querySelector nodeId $root selector [json_text $selector]] \
      {$.nodeId}]
  browser_call DOM.setFileInputFiles nodeId $node files "\[[json_text $file]]"
}
# The bytes of the one file of that name, once the browser has written it.  The name may be there
# before the bytes, which come under another name first.
proc downloaded {folder pattern} {
  set deadline [expr {[clock milliseconds]+120000}]
  while {[llength [glob -nocomplain -directory $folder *.crdownload]]>0
         || [llength [set files [glob -nocomplain -directory $folder $pattern]]]!=1
         || [string match *.crdownload [lindex $files 0]]
         || [catch {file size [lindex $files 0]} size] || $size==0} {
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
  at_rest
  set tree [browser_call Accessibility.getFullAXTree]
  browser_json eval {
    SELECT json_extract(value, '$.role.value') AS role, coalesce(json_extract(value, \
        '$.name.value'), '')
    FROM json_each($tree, '$.nodes') WHERE NOT coalesce(json_extract(value, '$.ignored'), 0) AND \
        role NOT IN ('StaticText', 'InlineTextBox', 'generic', 'none')
  }
}
