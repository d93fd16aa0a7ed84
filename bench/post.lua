-- wrk ... -s post.lua URL -- BODY_FILE: post that file, over and over. Headers come from wrk's own -H.
function init(args)
   local file = assert(io.open(args[1], "rb"))
   wrk.method = "POST"
   wrk.body = file:read("*a")
   wrk.headers["Content-Type"] = "application/json"
   file:close()
end
