import AwsS3 from '@uppy/aws-s3'
import Uppy from '@uppy/core'
import Dashboard from '@uppy/dashboard'

import '@uppy/core/css/style.min.css'
import '@uppy/dashboard/css/style.min.css'

// Your page knows both; here they come from the address: index.html#api=https://…&token=…
const page = new URLSearchParams(location.hash.slice(1))
const api = page.get('api') ?? 'http://127.0.0.1:8000'
const token = page.get('token')

async function signRequest(request) {
  const answer = await fetch(`${api}/s3/sign`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', ...(token && { Authorization: `Bearer ${token}` }) },
    body: JSON.stringify(request),
  })
  const told = await answer.json()
  if (!answer.ok) throw new Error(told.message)
  return told
}

const uppy = new Uppy()
  .use(Dashboard, { target: '#uploads', inline: true })
  // The server chooses the key; what is generated here is the name that the file keeps.
  .use(AwsS3, { signRequest, generateObjectKey: (file) => file.name })

uppy.on('upload-success', (file) => {
  const line = document.createElement('li')
  line.textContent = `${file.name} has arrived`
  document.getElementById('arrived').append(line)
})
