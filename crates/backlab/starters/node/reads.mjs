// {{title}}
//
// {{contract}}

/** Your work begins here. */
function answer(input) {
  return { error: "this isn't written yet" };
}

let input = "";
for await (const chunk of process.stdin) input += chunk;
console.log(JSON.stringify(answer(JSON.parse(input))));
