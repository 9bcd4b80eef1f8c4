# The report of `build`, `publish` or `publish-index`, as Markdown.
def code: "`" + (tostring | gsub("[`\\n|]"; " ")) + "`";
def size: if . >= 1000000 then "\(. / 100000 | round / 10) MB" else "\(. / 100 | round / 10) kB" end;

"### " + ($workspace | code),
"",
if .destinations then
  (if .dryRun then "A dry run: nothing was published." else empty end),
  "Digest " + (.digest // "none" | code),
  "",
  "| repository | tags | " + (if .dryRun then "to send" else "sent" end) + " | mounted | there already |",
  "|---|---|---:|---:|---:|",
  (.destinations[] | "| " + (.repository | code) + " | " + ([.tags[].tag | code] | join(" ")) + " | "
    + (if .failure then "failed: " + (.failure.message | code) + " | | |"
       else "\(.uploaded | length) blobs, \(.bytes | size) | \(.mounted | length) | \(.present | length) |" end))
else
  "Digest " + (.digest | code) + " in " + (.reference | code),
  "",
  "| platform | layers | size |",
  "|---|---:|---:|",
  (.images[] | "| " + (.platform | code) + " | \(.layers | length) | " + ([.layers[].size] | add // 0 | size) + " |")
end,
""
