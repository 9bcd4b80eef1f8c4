// Prints what Docker's own reader of ignore files says of files and paths, for
// crates/pipeline/src/contents/application/dockerignore.table: `go run . >TABLE`.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"
)

// The cases of docs.docker.com ("Dockerignore files") first.
var files = []string{
	"# comment\n*/temp*\n*/*/temp*\ntemp?\n",
	"**/*.go\n",
	"*.md\n!README.md\n",
	"*.md\n!README*.md\nREADME-secret.md\n",
	"*.md\nREADME-secret.md\n!README*.md\n",
	"*\n!src\n",
	"**\n!src/**\n",
	"*\n!src/a.py\n!src/deep/b.py\n",
	"src\n!src/a.py\n",
	"src/\n",
	"/src\n/README.md/\n",
	"./src/./deep\n",
	"src/../README.md\n",
	"**/temp\n",
	"**temp\n",
	"src/**\n",
	"src/**/b.py\n",
	"src**b.py\n",
	"**/deep/**\n",
	"src/**\n!src/deep/**\n",
	"*.p[xy]\n**/*.[!a]o\n",
	"**/[a-c].*\n",
	"**/[^a].py\n",
	"src/\\?.py\nREADME\\.md\n",
	"a b\n  temp  \n! tempo\n",
	"\ufeffsrc\n",
	" # no comment\n",
	"?emp*\n",
	"**/.*\n",
	"**/__pycache__\n**/*.py[co]\n.git\n",
	"*/\n!*/deep\n",
	"é*\n",
	"TEMP\n",
	".\n",
	"/\n",
	"\n\n",
	"a+b(c)|d$^{e}\n",
	"!\n",
	"[\n",
	"a[b-\n",
	"src\\\n",
}

var paths = []string{
	"README.md", "README-secret.md", "README-x.md", "notes.md", "temp", "tempo", "temporary", "xtemp", "TEMP", "a b",
	"src", "src/a.py", "src/b.px", "src/a.go", "src/x.o", "src/temp", "src/temporary/x", "src/deep", "src/deep/b.py",
	"src/deep/b.go", "src/deep/temp/x", "srcb.py", "srcx/b.py", "lib/src/a.py", "lib/deep/c.txt", "main.go", "a.py", "c.py",
	".git", ".git/config", "src/.hidden", "src/__pycache__/a.pyc", "été", "# no comment", "a+b(c)|d$^{e}", "src\\",
}

func main() {
	encoder := json.NewEncoder(os.Stdout)
	encoder.SetEscapeHTML(false)
	for _, text := range files {
		fmt.Print("file ")
		if err := encoder.Encode(text); err != nil {
			panic(err)
		}
		patterns, err := ignorefile.ReadAll(strings.NewReader(text))
		if err != nil {
			panic(err)
		}
		matcher, err := patternmatcher.New(patterns)
		answers := make([]string, len(paths))
		for i := 0; err == nil && i < len(paths); i++ {
			var out bool
			out, err = matcher.MatchesOrParentMatches(paths[i])
			answers[i] = map[bool]string{true: "out", false: "in"}[out] + " " + paths[i]
		}
		if err != nil {
			fmt.Println("wrong", err)
			continue
		}
		fmt.Println(strings.Join(answers, "\n"))
	}
}
